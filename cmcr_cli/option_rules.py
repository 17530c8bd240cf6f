"""Checks of the options of a removal, before any file is opened: each by itself, names, and all together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from cmcr_cli.errors import OptionError
from cmcr_cli.option_fields import OUTPUTS, Role, option_fields, paths_by_role, values_by_role
from cmcr_cli.option_paths import check_input_name, check_output_name
from cmcr_cli.option_texts import check_datetime
from cmcr_cli.option_types import checked
from cmcr_cli.scene.masks.mask_codes import parse_codes
from cmcr_cli.scene.references.entries import split_date

MASKS = get_args(Literal["auto", "scl", "omnicloudmask", "all"])
"""Words that `mask` may be instead of a path."""


def check_fields(options: Any) -> None:
    """Check each value by itself. Texts that are paths become paths, and a single text a list of one.

    Args:
        options: A `RemoveOptions`, which is changed.

    Raises:
        OptionError: A value has another type, is not one of the choices, or is out of range.
    """
    for each in option_fields(type(options)):
        value = getattr(options, each.name)
        if each.listed:
            value = (value,) if isinstance(value, str | Path) else value
            value = tuple(value) if isinstance(value, list) else value
        value = checked(each.flag, each.type, value, path=each.role is Role.INPUT)
        object.__setattr__(options, each.name, value)
        each.check(value)


def check_names(options: Any) -> None:
    """Check that files can have the names that are given for inputs and outputs.

    Args:
        options: A `RemoveOptions`.

    Raises:
        OptionError: They cannot, or an output's name is not that of its format.
        InputError: The operating system refuses to look an input up.
    """
    for each, output in values_by_role(options, *OUTPUTS):
        check_output_name(each.flag, output, each.option.form)
    for path in paths_by_role(options, Role.INPUT, Role.WEIGHTS):
        check_input_name(path)
    for entry in options.references:
        split_date(entry)


def check_together(options: Any) -> None:
    """Check what a single field does not tell.

    Args:
        options: A `RemoveOptions`.

    Raises:
        OptionError: Values contradict each other, or need others.
    """
    if options.datetime is not None:
        check_datetime(options.datetime)
    if (options.s1_vv is None) != (options.s1_vh is None) or (
        options.s1 is not None and options.s1_vv is not None
    ):
        raise OptionError("expected both --s1-vv and --s1-vh, or one file S1 that holds both, or neither")
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
