"""The command `cmcr`: its subcommands, and what becomes of errors and signals.

Commands import torch and rasterio when they run, not when this module is loaded: help must be quick.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cmcr_cli.cli.commands import (
    batch,
    data,
    distill,
    evaluate,
    info,
    mask,
    remove,
    simulate,
    train,
    validate,
)
from cmcr_cli.cli.console import say
from cmcr_cli.cli.stopping import INTERRUPTED, end, hush, is_stopped, listen
from cmcr_cli.errors import CmcrError
from cmcr_cli.version import __version__
from cmcr_cli.warning_kinds import CmcrWarning

log = logging.getLogger("cmcr")


class QuickGroup(TyperGroup):
    """Commands whose help loads nothing to convert flags that nobody gave.

    typer 0.29 loads pydantic for flags without a default, as its own are: 0.3 of 0.5 s of `cmcr remove -h`.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """List the options of the group, with a default for each flag.

        Args:
            ctx: Context of the command.

        Returns:
            The options.
        """
        found: list[Any] = super().get_params(ctx)
        for each in found:
            if each.default is None and getattr(each, "is_flag", False):
                each.default = False
        return found


app = typer.Typer(
    name="cmcr",
    cls=QuickGroup,
    help="Remove clouds from whole Sentinel-2 scenes, with Sentinel-1 and a consistency model.",
    epilog="Exit codes: 0 success, 1 error, 2 usage, 3 weights, 4 grids do not match, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

data_app = typer.Typer(
    help="Check training data.", cls=QuickGroup, no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app, name="data")

for group, command, examples in (
    (app, remove.remove, remove.EXAMPLES),
    (app, batch.batch, batch.EXAMPLES),
    (app, mask.mask, mask.EXAMPLES),
    (app, info.info, info.EXAMPLES),
    (app, simulate.simulate, simulate.EXAMPLES),
    (app, validate.validate, validate.EXAMPLES),
    (data_app, data.check, data.EXAMPLES),
    (app, train.train, train.EXAMPLES),
    (app, distill.distill, distill.EXAMPLES),
    (app, evaluate.evaluate, evaluate.EXAMPLES),
):
    # "\b" keeps the lines of a paragraph as they are.
    group.command(epilog=f"\b\nExamples:\n{examples}")(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cmcr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(args: Sequence[str] | None = None) -> None:
    """Run `cmcr`; always ends in SystemExit.

    Handled errors become one line on stderr and their exit code. SIGTERM, SIGHUP and SIGXCPU end a run as
    Ctrl-C does, so that batch systems that stop a job leave no temporary files.

    Args:
        args: Words of the command line; None: those of the process.

    Raises:
        SystemExit: With the exit code.
    """
    listen()
    # Patches and samples run side by side: numpy's own threads would only slow them down.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            # The commands print those of a run together, at its end.
            warnings.simplefilter("ignore", CmcrWarning)
            app(args, prog_name="cmcr")
    except SystemExit as left:
        if left.code == INTERRUPTED:
            hush()
            _fail("interrupted")
        raise
    except KeyboardInterrupt:
        hush()
        _fail("interrupted")
        sys.exit(INTERRUPTED)
    except CmcrError as error:
        log.debug("traceback", exc_info=error)
        _end_if_stopped()
        _fail(f"error: {error}")
        sys.exit(error.exit_code)
    except MemoryError as error:
        log.debug("traceback", exc_info=error)
        _fail("error: memory ran out; expected more of it. Free some, or ask for less: see --dry-run")
        sys.exit(1)
    except Exception as error:
        log.debug("traceback", exc_info=error)
        _end_if_stopped()
        _fail(f"unexpected error: {type(error).__name__}: {error} (-vv shows where)")
        sys.exit(1)
    finally:
        end()


def _end_if_stopped() -> None:
    """Exit as after a signal where one came: libraries make any error of KeyboardInterrupt, or none."""
    if is_stopped():
        hush()
        _fail("interrupted")
        sys.exit(INTERRUPTED)


def _fail(message: str) -> None:
    """Print `message` as one line, whatever line breaks a library put into it."""
    say(f"cmcr: {' '.join(message.split())}")
