"""Options that contradict each other, refused before any file is opened."""

from __future__ import annotations

from typing import Any, Literal, get_args

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.masks.mask_codes import parse_codes

MASKS = get_args(Literal["auto", "scl", "omnicloudmask", "all"])
"""Words that `mask` may be instead of a path."""


def check_contradictions(options: Any) -> None:
    """Compare the options of a removal with each other.

    Args:
        options: `RemoveOptions`, each of whose values is in its own range.

    Raises:
        OptionError: Two contradict each other.
    """
    split = options.s1_vv is not None, options.s1_vh is not None
    if split[0] != split[1] or (options.s1 is not None and split[0]):
        raise OptionError("expected both --s1-vv and --s1-vh, or one file S1 that holds both, or neither")
    for flag, path in options.outputs.items():
        if path == options.native:
            raise OptionError(
                f"--native {path}: is also the name of {flag}; expected a folder for the bands. Name another."
            )
    if options.aoi is not None and options.bbox is not None:
        raise OptionError("--aoi and --bbox both select pixels; expected one of them")
    if options.mask_codes is not None:
        if options.mask in MASKS:
            raise OptionError(
                f"--mask-codes {options.mask_codes} with --mask {options.mask}, which has no codes; expected "
                "the path of a raster as --mask"
            )
        parse_codes(options.mask_codes)
    if options.uncertainty is not None and options.samples < 2:
        raise OptionError(
            "--uncertainty is the standard deviation of several samples; expected --samples 2 or more"
        )
    if options.samples > 1 and options.steps == 1:
        raise OptionError(
            f"--samples {options.samples} with --steps 1: one step hardly depends on the noise, so that "
            "all samples are alike; expected --steps 2 or more"
        )
