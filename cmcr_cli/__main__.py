"""The command `cmcr`, also as `python -m cmcr_cli`."""

from __future__ import annotations

import sys

from cmcr_cli.cli import stopping


def main() -> None:
    """Run `cmcr`; always ends in SystemExit. Signals are listened to before anything else is imported."""
    stopping.open_streams()
    stopping.listen()
    try:
        from cmcr_cli.cli.main import main as run

        run()
    except KeyboardInterrupt:  # between two imports
        print("cmcr: interrupted", file=sys.stderr)
        sys.exit(stopping.INTERRUPTED)
    finally:
        stopping.end()
        stopping.leave()


if __name__ == "__main__":
    main()
