"""SEN12MS-CR (Ebel et al. 2020) in its published folders, and its splits.

A patch consists of three files: DIR/ROIs1158_spring_s1/s1_106/ROIs1158_spring_s1_106_p30.tif, and the same
with s2 (clear) and s2_cloudy instead of s1. They have 256 x 256 px of 13 bands of DN (Level-1C), or VV and VH
in dB. A region of interest (ROI) is a season and a number. Its patches overlap, so only whole ROIs are split.

The splits are those of the loader of UnCRtainTS (Ebel et al. 2023), which most published figures use: 155
ROIs for training, 10 for validation, 10 for testing. With the rule "exact", a patch belongs to the splits
that list its ROI. The loader tests instead whether the name of any listed ROI is a part of the path, so that
`ROIs1158_spring_s1/s1_1` also matches s1_106. As a result, 6 of the 10 test ROIs (60 % of the patches) and 3
of the 10 validation ROIs are also in the training split. "legacy" is that rule, including the leak. It exists
only for comparison with figures that were made with it and that reward a network for memorising places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cmcr_cli.training.data.images import ClearImage, Pair, cirrus_subtracted, clear_of, read_pair
from cmcr_cli.training.data.lazy import LazyMapping, LazySequence

SplitRule = Literal["exact", "legacy"]

SIZE = 256
KINDS = ("s1", "s2", "s2_cloudy")
SPLITS = {
    "train": {
        "ROIs1158_spring": """1 6 8 9 15 21 26 39 40 45 58 63 66 75 77 97 100 101 109 110 113 115 117 119 120
            121 124 126 128 132 134 141 142 145 147""",
        "ROIs1868_summer": """4 7 11 15 25 27 31 36 40 42 43 47 55 56 72 76 86 87 89 90 93 95 100 101 102 113
            114 115 120 121 123 124 125 126 132 133 135 137 139 140 143 146 147""",
        "ROIs1970_fall": """1 3 4 6 11 14 19 22 26 27 28 30 31 33 35 37 39 40 41 42 57 64 71 77 81 82 83 85 88
            91 93 100 104 105 107 109 110 112 114 116 119 120 122 125 128 131 133 134 135 136 141 142 144
            147 148 149""",
        "ROIs2017_winter": "8 21 25 42 47 49 55 59 61 62 64 68 75 81 94 102 104 112 116 135 146",
    },
    "val": {
        "ROIs1158_spring": "17",
        "ROIs1868_summer": "17 19 80 127",
        "ROIs1970_fall": "65",
        "ROIs2017_winter": "22 84 107 130",
    },
    "test": {
        "ROIs1158_spring": "31 44 106 123 140",
        "ROIs1868_summer": "73 119",
        "ROIs1970_fall": "139",
        "ROIs2017_winter": "63 108",
    },
}
"""Numbers of the ROIs by split and season."""


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of interest.

    Attributes:
        folder: Folder of SEN12MS-CR.
        season: Such as ROIs1158_spring.
        number: Number of the ROI.
        patches: Numbers of the complete patches.
        missing: Files that are missing in incomplete patches.
    """

    folder: Path
    season: str
    number: str
    patches: tuple[int, ...]
    missing: tuple[Path, ...]

    def file(self, kind: str, patch: int) -> Path:
        """Name a file of a patch.

        Args:
            kind: s1, s2 or s2_cloudy.
            patch: Number of the patch.

        Returns:
            Its path, whether there is such a file or not.
        """
        place = self.folder / f"{self.season}_{kind}" / f"{kind}_{self.number}"
        return place / f"{self.season}_{kind}_{self.number}_p{patch}.tif"

    def name(self, patch: int) -> str:
        """Name a patch in tables.

        Args:
            patch: Number of the patch.

        Returns:
            Such as ROIs1158_spring_106_p30.
        """
        return f"{self.season}_{self.number}_p{patch}"

    def splits(self, rule: SplitRule) -> tuple[str, ...]:
        """Tell in which splits the ROI is.

        Args:
            rule: How the lists of ROIs are read.

        Returns:
            One split, up to two with "legacy", none if it is not in the lists.
        """
        return tuple(
            split
            for split, seasons in SPLITS.items()
            if any(
                self.number == listed or (rule == "legacy" and self.number.startswith(listed))
                for listed in seasons[self.season].split()
            )
        )


def is_sen12mscr(folder: Path) -> bool:
    """Recognise SEN12MS-CR.

    Args:
        folder: Any folder.

    Returns:
        Whether it contains a folder of a season, such as ROIs1158_spring_s2.
    """
    return any((folder / f"{season}_{kind}").is_dir() for season in SPLITS["train"] for kind in KINDS)


def find_rois(folder: Path) -> Iterator[Roi]:
    """Find the ROIs of a folder by the names of their files; none is opened.

    Args:
        folder: Folder of SEN12MS-CR.

    Yields:
        ROIs by season and number.
    """
    for season in SPLITS["train"]:
        numbers = {
            path.name.removeprefix(f"{kind}_")
            for kind in KINDS
            for path in (folder / f"{season}_{kind}").glob(f"{kind}_*")
        }
        for number in sorted(filter(str.isdecimal, numbers), key=int):
            yield _roi(folder, season, number)


def _roi(folder: Path, season: str, number: str) -> Roi:
    empty = Roi(folder, season, number, (), ())
    found: dict[str, set[int]] = {}
    for kind in KINDS:
        pattern = re.compile(re.escape(f"{season}_{kind}_{number}_p") + r"(\d+)\.tif")
        names = (pattern.fullmatch(path.name) for path in empty.file(kind, 0).parent.glob("*.tif"))
        found[kind] = {int(match[1]) for match in names if match}
    every = set.union(*found.values())
    missing = tuple(empty.file(kind, patch) for kind in KINDS for patch in sorted(every - found[kind]))
    return Roi(folder, season, number, tuple(sorted(set.intersection(*found.values()))), missing)


def training_images(
    folder: Path, rule: SplitRule
) -> tuple[list[LazySequence[tuple[Roi, int], ClearImage]], LazySequence[tuple[Roi, int], Pair]]:
    """Open the training split; images are read on access.

    Properties that only the pixels show are not known in advance: a pair may have no cloud, and a clear image
    may be under thin cirrus, which is then subtracted.

    Args:
        folder: Folder of SEN12MS-CR.
        rule: How it is split.

    Returns:
        Clear images of each ROI, and all pairs.
    """
    keys = [[(roi, p) for p in roi.patches] for roi in find_rois(folder) if "train" in roi.splits(rule)]
    places = [LazySequence(patches, _ground) for patches in keys if patches]
    return places, LazySequence([key for patches in keys for key in patches], _training_pair)


def pairs_of(folder: Path, split: str, rule: SplitRule) -> LazyMapping[tuple[Roi, int], Pair]:
    """Open the patches of a split; they are read on access.

    Args:
        folder: Folder of SEN12MS-CR.
        split: train, val or test.
        rule: How it is split.

    Returns:
        Pairs by the name of the patch.
    """
    rois = [roi for roi in find_rois(folder) if split in roi.splits(rule)]
    return LazyMapping({roi.name(patch): (roi, patch) for roi in rois for patch in roi.patches}, _pair)


def _pair(key: tuple[Roi, int]) -> Pair:
    roi, patch = key
    return read_pair(roi.file("s2_cloudy", patch), roi.file("s2", patch), roi.file("s1", patch))


def _training_pair(key: tuple[Roi, int]) -> Pair:
    return cirrus_subtracted(_pair(key))


def _ground(key: tuple[Roi, int]) -> ClearImage:
    return clear_of(_training_pair(key))
