"""`cmcr info S2`: what is understood of inputs, without a run."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from cmcr_cli.errors import CmcrError
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.inputs import Inputs
from cmcr_cli.removal.opening.opened import open_s2
from cmcr_cli.scene.layers.radiometry_check import check_radiometry
from cmcr_cli.scene.radar import open_radar
from cmcr_cli.scene.references.reference import open_references
from cmcr_cli.warning_kinds import CmcrWarning


@dataclass(frozen=True, slots=True)
class Inspection:
    """Inputs that were looked at.

    Attributes:
        inputs: What was understood.
        warnings: What a run would warn of as it opens them.
        fault: Why the scene cannot be used all the same; None: nothing is wrong.
    """

    inputs: Inputs
    warnings: tuple[CmcrWarning, ...]
    fault: CmcrError | None


def inspect(options: RemoveOptions) -> Inspection:
    """Open inputs as `remove` does, and tell what is understood of them. Nothing is computed or written.

    Args:
        options: Only those of the inputs count.

    Returns:
        What is understood. The share of valid pixels is that of a sample.

    Raises:
        CmcrError: An input cannot be opened.
    """
    with ExitStack() as stack:
        optical = stack.enter_context(open_s2(options))
        warnings: list[CmcrWarning] = [*optical.warnings]
        fault = radar = None
        try:
            warnings += check_radiometry(optical)
        except CmcrError as error:
            fault = error
        if options.radar is not None:
            radar = stack.enter_context(open_radar(options.radar, optical.grid, units=options.s1_units))
            warnings += radar.warnings
        found = stack.enter_context(open_references(options.references, optical))
        warnings += found.warnings
        share = float(optical.valid(optical.source.sample()).mean())
        inputs = Inputs.of(
            optical, radar, found.used, bands=options.bands, units=options.s1_units, valid_share=share
        )
        return Inspection(inputs, tuple(warnings), fault)
