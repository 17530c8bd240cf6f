"""The images that a training draws from and is measured on, whichever way a folder lays them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.training.data import gathered, grounds, sen12mscr, simulated
from cmcr_cli.training.data.images import ClearImage, Pair
from cmcr_cli.training.data.sen12mscr import SplitRule

Layout = Literal["SEN12MS-CR", "gathered"]


@dataclass(frozen=True, slots=True)
class Library:
    """Clear images grouped by place, and the pairs that clouds are cut from.

    Both may read an image only when it is asked for, anew each time, and neither is to be read from end to
    end: SEN12MS-CR has 107 000 patches to train on.
    """

    places: Sequence[Sequence[ClearImage]]
    pairs: Sequence[Pair]


def load_library(folder: Path, split_rule: SplitRule = "exact", fold: int = 0) -> Library:
    """The training split of `folder`; errors as of `layout_of`, InputError if it has no image or no pair.

    Without the places of `fold`, where the layout is the gathered one; 0 is none.
    """
    if is_simulated(folder):
        library = Library(*simulated.training_images())
    elif layout_of(folder, split_rule) == "SEN12MS-CR":
        library = Library(*sen12mscr.training_images(folder, split_rule))
    else:
        library = Library(*grounds.training_images(folder, fold))
    if not library.places or not library.pairs:
        raise InputError(
            f"{folder}: found {len(library.places)} clear places and {len(library.pairs)} cloudy/clear pairs "
            "to train on; expected SEN12MS-CR, or a folder with triplets/ or pairs_s2/ holding s2_cloudy.tif "
            "and s2_clear.tif. `cmcr data check` says what is there."
        )
    return library


def load_pairs(folder: Path, split: str, split_rule: SplitRule = "exact") -> Mapping[str, Pair]:
    """The pairs with radar of a split (`train`, `val` or `test`) by name, as their files show them.

    Those of SEN12MS-CR are read when asked for, anew each time. Errors as of `layout_of`.
    """
    if is_simulated(folder):
        return simulated.pairs_of(split)
    if layout_of(folder, split_rule) == "SEN12MS-CR":
        return sen12mscr.pairs_of(folder, split, split_rule)
    return gathered.triplets(folder, split)


def is_simulated(folder: Path) -> bool:
    """Whether the word stands in the place of a folder, and there is no folder of that name."""
    return folder == Path(simulated.NAME) and not folder.is_dir()


def layout_of(folder: Path, split_rule: SplitRule = "exact") -> Layout:
    """How `folder` is laid out.

    Raises InputError when it is no folder, OptionError when the rule is for SEN12MS-CR and it is not that.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: found no such folder; expected one of training scenes. Check the path.")
    if sen12mscr.is_sen12mscr(folder):
        return "SEN12MS-CR"
    if split_rule == "legacy":
        raise OptionError(
            f"--split-rule legacy: found no SEN12MS-CR in {folder}; expected folders such as "
            "ROIs1158_spring_s1. Leave the option out: other data is split by triplets/index.csv."
        )
    return "gathered"
