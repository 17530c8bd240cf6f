"""Training and validation images, independent of the layout of the folder."""

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
    """Training images.

    The sequences may read an image on every access, so they must not be iterated completely: SEN12MS-CR has
    107 000 training patches.

    Attributes:
        places: Clear images of each place.
        pairs: Pairs from which clouds are extracted.
    """

    places: Sequence[Sequence[ClearImage]]
    pairs: Sequence[Pair]


def load_library(folder: Path, split_rule: SplitRule = "exact", fold: int = 0) -> Library:
    """Open the training split of a folder.

    Args:
        folder: Folder of training data, or the word `simulated`.
        split_rule: How SEN12MS-CR is split.
        fold: Fold of places to exclude, in the gathered layout only; 0: none.

    Returns:
        Training images.

    Raises:
        InputError: The folder does not exist, or has no clear image or no pair.
        OptionError: The split rule does not apply to this folder.
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
            "and s2_clear.tif. `cmcr data check` lists the content of the folder."
        )
    return library


def load_pairs(folder: Path, split: str, split_rule: SplitRule = "exact") -> Mapping[str, Pair]:
    """Open the pairs with radar of a split.

    Args:
        folder: Folder of training data, or the word `simulated`.
        split: train, val or test.
        split_rule: How SEN12MS-CR is split.

    Returns:
        Pairs by name; pairs of SEN12MS-CR are read on every access.

    Raises:
        InputError: The folder does not exist.
        OptionError: The split rule does not apply to this folder.
    """
    if is_simulated(folder):
        return simulated.pairs_of(split)
    if layout_of(folder, split_rule) == "SEN12MS-CR":
        return sen12mscr.pairs_of(folder, split, split_rule)
    return gathered.triplets(folder, split)


def is_simulated(folder: Path) -> bool:
    """Tell whether simulated scenes are asked for.

    Args:
        folder: What stands for the training data.

    Returns:
        Whether it is the word `simulated`, and there is no folder of that name.
    """
    return folder == Path(simulated.NAME) and not folder.is_dir()


def layout_of(folder: Path, split_rule: SplitRule = "exact") -> Layout:
    """Recognise the layout of a folder.

    Args:
        folder: The folder.
        split_rule: How SEN12MS-CR is split; `legacy` applies to SEN12MS-CR only.

    Returns:
        SEN12MS-CR if any of its folders is there, else gathered.

    Raises:
        InputError: The folder does not exist.
        OptionError: The split rule does not apply to this folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a folder of training data. Check the path.")
    if sen12mscr.is_sen12mscr(folder):
        return "SEN12MS-CR"
    if split_rule == "legacy":
        raise OptionError(
            f"--split-rule legacy: found no SEN12MS-CR in {folder}; expected folders such as "
            "ROIs1158_spring_s1. Omit the option: other data are split by triplets/index.csv."
        )
    return "gathered"
