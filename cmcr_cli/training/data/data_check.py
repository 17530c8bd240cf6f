"""Check of a folder of training data: its content, broken files, and the sizes of the splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from cmcr_cli.errors import InputError
from cmcr_cli.scene.radiometry import QUANTIFICATION
from cmcr_cli.scene.raster import open_raster
from cmcr_cli.training.data import gathered, sen12mscr
from cmcr_cli.training.data.images import is_under_cirrus
from cmcr_cli.training.data.labels import check_labels, has_labels, label_count, labelled_images
from cmcr_cli.training.data.library import layout_of
from cmcr_cli.training.data.sen12mscr import SplitRule
from cmcr_cli.training.data.series_file import check_series

Progress = Callable[[float], None]

_GAPS = 0.01
"""Share of invalid pixels of a radar image from which on there is a remark."""


@dataclass(frozen=True, slots=True)
class DataReport:
    """Result of a check.

    Attributes:
        folder: The folder.
        layout: SEN12MS-CR or gathered.
        contents: Number of items by kind.
        files: Number of files by form (bands, size, type).
        splits: Number of items and places in each split, and in each pair of splits.
        broken: Paths by kind of fault, relative to the folder.
        remarks: Paths by kind of remark. A remark is not a fault: training handles it.
    """

    folder: Path
    layout: str
    contents: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    broken: dict[str, list[str]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def fault(self, kind: str, path: Path, why: str = "") -> None:
        """Record a broken file.

        Args:
            kind: What is wrong with it.
            path: The file, in the folder of the data.
            why: More of this one.
        """
        more = f" ({why})" if why else ""
        self.broken.setdefault(kind, []).append(f"{path.relative_to(self.folder)}{more}")

    def remark(self, kind: str, path: Path, more: str = "") -> None:
        """Record a remark on a file.

        Args:
            kind: What there is to remark.
            path: The file, in the folder of the data.
            more: Appended to its name.
        """
        self.remarks.setdefault(kind, []).append(f"{path.relative_to(self.folder)}{more}")


def _add(counts: dict[str, int], name: str, number: int = 1) -> None:
    counts[name] = counts.get(name, 0) + number


def check_data(
    folder: Path,
    split_rule: SplitRule = "exact",
    *,
    full: bool = False,
    progress: Progress = lambda done: None,
) -> DataReport:
    """Check a folder of training data.

    Args:
        folder: The folder.
        split_rule: How SEN12MS-CR is split.
        full: Whether every pixel is read, and not only names and headers.
        progress: Called with the share that is done, 0 to 1.

    Returns:
        The result.

    Raises:
        InputError: The folder does not exist or contains no training data.
        OptionError: The split rule does not apply to this folder.
    """
    report = DataReport(folder, layout_of(folder, split_rule))
    if report.layout == "SEN12MS-CR":
        _check_rois(report, split_rule, full, progress)
    else:
        _check_gathered(report, full, progress)
    if not report.contents:
        raise InputError(
            f"{folder}: found no training data; expected SEN12MS-CR with folders such as ROIs1158_spring_s1, "
            "or a folder with triplets/, pairs_s2/, places/, optical/ or scenes/. Check the path."
        )
    return report


def _check_rois(report: DataReport, rule: SplitRule, full: bool, progress: Progress) -> None:
    rois = list(sen12mscr.find_rois(report.folder))
    groups: dict[str, dict[str, str]] = {split: {} for split in sen12mscr.SPLITS}
    for count, roi in enumerate(rois):
        _add(report.contents, "ROIs")
        _add(report.contents, "patches", len(roi.patches))
        splits = roi.splits(rule)
        if not splits:
            report.remark("ROI of no split, not used", roi.file("s2", 0).parent)
        for split in splits:
            groups[split].update((roi.name(p), f"{roi.season}_{roi.number}") for p in roi.patches)
        for path in roi.missing:
            report.fault("file missing, its patch is not used", path)
        for patch in roi.patches:
            files = {kind: roi.file(kind, patch) for kind in sen12mscr.KINDS}
            _check_place(report, files, full, (sen12mscr.SIZE, sen12mscr.SIZE))
        progress((count + 1) / len(rois))
    _count_splits(report, groups, "patches", "ROIs")


def _check_gathered(report: DataReport, full: bool, progress: Progress) -> None:
    folder = report.folder
    rows = gathered.index(folder)
    triplets = [folder / "triplets" / row["name"] for row in rows]
    pairs, series = gathered.pair_folders(folder), gathered.series_files(folder)
    scenes = gathered.scene_files(folder)
    for path in sorted({p for p in folder.glob("triplets/*") if p.is_dir()} - set(triplets)):
        report.remark("triplet without a row in triplets/index.csv, not used", path)
    counts = {"triplets": triplets, "pairs without radar": pairs, "series": series, "scenes": scenes}
    for name, paths in counts.items():
        if paths:
            _add(report.contents, name, len(paths))
    jobs: list[tuple[Callable[[DataReport, Path, bool], None], Path]] = [
        *((_check_triplet, path) for path in triplets),
        *((_check_pair, path) for path in pairs),
        *((_check_series, path) for path in series),
        *((_check_scene, path) for path in scenes),
    ]
    for count, (check, path) in enumerate(jobs):
        check(report, path, full)
        progress((count + 1) / len(jobs))
    _check_labels(report, full)
    groups: dict[str, dict[str, str]] = {"train": {}, "val": {}, "test": {}}
    for row, path in zip(rows, triplets, strict=True):
        if row["split"] in groups:
            groups[row["split"]][row["name"]] = row["scene"]
        else:
            report.fault("split other than train, val or test in triplets/index.csv", path)
        if any(
            row["scene"] in {*members.values()} for split, members in groups.items() if split != row["split"]
        ):
            report.fault("scene in two splits", path)
    _count_splits(report, groups, "triplets", "scenes")
    report.splits["train"]["pairs, series and scenes beside them"] = len(pairs) + len(series) + len(scenes)


def _count_splits(
    report: DataReport, groups: Mapping[str, Mapping[str, str]], items: str, places: str
) -> None:
    """Count the items (name to place) of each split, and those that two splits have in common."""
    for split, members in groups.items():
        report.splits[split] = {items: len(members), places: len({*members.values()})}
    for one, other in combinations(groups, 2):
        first, second = groups[one], groups[other]
        report.splits[f"{one} and {other}"] = {
            items: len(first.keys() & second.keys()),
            places: len({*first.values()} & {*second.values()}),
        }


def _check_triplet(report: DataReport, path: Path, full: bool) -> None:
    _check_place(report, {kind: path / f"{kind}.tif" for kind in ("s1", "s2_cloudy", "s2_clear")}, full)


def _check_pair(report: DataReport, path: Path, full: bool) -> None:
    _check_place(report, {kind: path / f"{kind}.tif" for kind in ("s2_cloudy", "s2_clear")}, full)


def _check_scene(report: DataReport, path: Path, full: bool) -> None:
    _check_raster(report, path, 12, full)


def _check_place(
    report: DataReport, files: Mapping[str, Path], full: bool, size: tuple[int, int] | None = None
) -> None:
    """Check the images of one place, by kind; they must have one size, and that size if it is given."""
    sizes = {
        kind: _check_raster(report, path, 2 if kind == "s1" else 13, full, clear=kind in ("s2", "s2_clear"))
        for kind, path in files.items()
    }
    for kind, found in sizes.items():
        if found and found != (size or next(filter(None, sizes.values()))):
            report.fault(f"not {size[0]}x{size[1]} px" if size else "not the size of its place", files[kind])


def _check_raster(
    report: DataReport, path: Path, bands: int, full: bool, *, clear: bool = False
) -> tuple[int, int] | None:
    """Check a raster; returns its width and height, or None if it cannot be read."""
    if not path.is_file():
        report.fault("file missing", path)
        return None
    try:
        with open_raster(path, f"{bands} bands") as file:
            _add(report.files, f"{file.count} bands {file.width}x{file.height} {file.dtypes[0]}")
            if file.count != bands:
                report.fault(f"not {bands} bands", path)
            elif full:
                _check_pixels(report, path, file.read(), clear)
            else:
                file.read(1, window=_last_block(file))  # which is not there in a file that was cut short
            return int(file.width), int(file.height)
    except (InputError, RasterioError) as error:
        report.fault("unreadable", path, _reason(error, path))
        return None


def _last_block(file: Any) -> Window:
    """Window of the last block of a raster."""
    rows, columns = file.block_shapes[0]
    top, left = (file.height - 1) // rows * rows, (file.width - 1) // columns * columns
    return Window(left, top, file.width - left, file.height - top)


def _reason(error: Exception, path: Path) -> str:
    """What is wrong, of a message that begins with the path and ends with what was expected."""
    text = str(error.__cause__ or error) if isinstance(error, RasterioError) else str(error)
    text = text.removeprefix(f"{path}: ").replace(f"'{path}' ", "")
    return " ".join(text.partition("; expected")[0].split())


def _check_pixels(report: DataReport, path: Path, values: NDArray[Any], clear: bool) -> None:
    finite = np.isfinite(values)
    if not values[finite].any():
        report.fault("all zero or not finite", path)
    elif len(values) == 2:
        for kind, gaps in (("exactly 0 dB", values == 0), ("not finite", ~finite)):
            if (share := gaps.any(axis=0).mean()) > _GAPS:
                report.remark(f"radar {kind} in parts, taken as not valid", path, f" ({share:.0%})")
    elif not finite.all():
        report.fault("not finite", path)
    elif clear and is_under_cirrus(np.asarray(values / QUANTIFICATION, np.float32)):
        report.remark("clear image under thin cirrus, which training subtracts", path)


def _check_series(report: DataReport, path: Path, full: bool) -> None:
    try:
        time, bands, *size = check_series(path)["s2"].shape
        _add(report.files, f"series of {bands} bands {'x'.join(map(str, reversed(size)))}")
        _add(report.contents, "dates of series", time)
        if full:
            clear = len(list(gathered.series(path)))
            _add(report.contents, "dates of series that training uses", clear)
            if not clear:
                report.remark("series without a date that training can use", path)
    except InputError as error:
        report.fault("not a series", path, _reason(error, path))


def _check_labels(report: DataReport, full: bool) -> None:
    if not has_labels(report.folder):
        return
    _add(report.contents, "labelled images", 0)
    try:
        check_labels(report.folder)
        count = label_count(report.folder)
        _add(report.contents, "labelled images", count)
        for _ in labelled_images(report.folder) if full else ():
            pass
    except InputError as error:
        text = _reason(error, report.folder).replace(f"{report.folder}/", "")
        report.fault("labels that cannot be used", report.folder / "labels", text)
