"""Scores of masks on labelled images, in pixels of 10 m, next to the networks that made the labels.

"Covered" means thick cloud, thin cloud or shadow, whichever of these the mask states. The recall of shadow is
the share of shadow that is covered. Only the IoU of shadow requires the class itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.evaluation.cloud_scores import KINDS, ground_kinds
from cmcr_cli.evaluation.tables import Row, Table
from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.model.cloud_network import CloudNetwork, sun_input
from cmcr_cli.removal.survey.cloud_map import CELL
from cmcr_cli.removal.survey.detection import UNKNOWN_SUN, detect
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN
from cmcr_cli.scene.patches import crop, reflected
from cmcr_cli.scene.sun import towards
from cmcr_cli.training.data.images import Array
from cmcr_cli.training.data.labels import UNLABELLED, LabelledImage

Mask = NDArray[np.bool_]
Classes = NDArray[np.uint8]
Maker = Callable[[LabelledImage], Classes]
"""Makes the mask (H, W) of an image: a CloudClass, or UNLABELLED where the image is nodata."""

OWN, SUNLIT = "cmcr", "cmcr, sun known"
NETWORK, JOINED = "CloudSEN12 network", "joined"
MAKERS = (OWN, SUNLIT, NETWORK, JOINED)

EVERY_SCENE = "all scenes"
EYE_MEASURES = ("cloud", "thick", "thin", "shadow", "iou", "shadow iou", "false alarms")
WHOLLY = {"thick": "wholly under thick cloud", "thin": "wholly under thin cloud or cirrus"}
FALSE, COVERED = "false alarms", "covered"

OPTIONAL_BANDS = ("B01", "B05", "B06", "B07", "B8A", "B09", "B10", "B11", "B12")
"""Bands that may be missing in an image."""

LACKS = {
    **{f"without {band}": (band,) for band in OPTIONAL_BANDS},
    "without B01 B09 B10": ("B01", "B09", "B10"),
    "B02 B03 B04 B08 only": OPTIONAL_BANDS,
}
"""Bands that are removed, by row of the table."""

_NODATA_BANDS = [i for i, band in enumerate(BANDS) if band != "B10"]  # 0 is a common value of B10

Key = tuple[str, str]


@dataclass(slots=True)
class Tally:
    """Counts of pixels by row of a table and measure.

    Attributes:
        hits: Number of hits.
        among: Number of pixels among which the hits are counted.
        shares: Share of hits of every image, by name.
    """

    hits: Counter[Key] = field(default_factory=Counter)
    among: Counter[Key] = field(default_factory=Counter)
    shares: dict[Key, dict[str, float]] = field(default_factory=dict)

    def add(self, name: str, key: Key, hit: Mask, among: Mask) -> None:
        """Add an image. One without pixels that count is ignored.

        Args:
            name: Of the image.
            key: Row of the table, and measure.
            hit: Pixels that the mask gets right, or wrong, as the measure has it (H, W).
            among: Pixels that count (H, W).
        """
        hits, count = int((hit & among).sum()), int(among.sum())
        if count:
            self.hits[key] += hits
            self.among[key] += count
            self.shares.setdefault(key, {})[name] = hits / count

    def per_cent(self, *keys: Key) -> float | None:
        """Sum up what was counted.

        Args:
            keys: Rows and measures that are taken together.

        Returns:
            Share of hits in per cent; None where no pixels were counted.
        """
        among = sum(self.among[key] for key in keys)
        return 100 * sum(self.hits[key] for key in keys) / among if among else None


@dataclass(frozen=True, slots=True)
class MaskScores:
    """Counts of all masks.

    Attributes:
        makers: Counts by maker of the masks.
        lacking: Counts of cmcr's masks by missing bands (`LACKS`): without them, and with them on the same
            images.
    """

    makers: dict[str, Tally]
    lacking: dict[str, tuple[Tally, Tally]]


def network_masks(network_of: Callable[[LabelledImage], CloudNetwork], *, sunlit: bool) -> Maker:
    """Make masks like `cmcr mask`.

    A few pixels along the edge of the image differ, because cells are mirrored here and pixels there.

    Args:
        network_of: Returns the network for an image, ready for inference.
        sunlit: Whether the network is told the position of the sun where it is known.

    Returns:
        Function that makes the mask of an image.
    """

    def make(item: LabelledImage) -> Classes:
        height, width = item.image.shape[1:]
        sun = UNKNOWN_SUN
        if sunlit and item.suns:
            likely = item.suns[len(item.suns) // 2]
            sun = sun_input(*towards(likely.azimuth), likely.elevation)
        classes, _ = detect(network_of(item), block_mean(_even(item.image)), item.present, sun)
        pixels = _to_pixels(classes, (height, width))
        return np.where(item.image[_NODATA_BANDS].any(axis=0), pixels, UNLABELLED).astype(np.uint8)

    return make


def teacher_masks(item: LabelledImage) -> dict[str, Classes]:
    """Make masks of what the networks say that made the labels.

    B10 and the spectral network do not state the class; such pixels count as thick cloud.

    Args:
        item: A labelled image.

    Returns:
        Masks (H, W) by the name of the network.
    """
    network = np.where(item.network > SHADOW, CLEAR, item.network).astype(np.uint8)
    masks = {NETWORK: network}
    if item.covered is not None:
        named = np.where(network == CLEAR, THICK, network)
        masks[JOINED] = np.where(item.covered > 0, named, CLEAR).astype(np.uint8)
    return masks


def score_masks(images: Iterable[LabelledImage], make: Maker, make_sunlit: Maker) -> MaskScores:
    """Score the masks of cmcr and of the networks that made the labels.

    Args:
        images: Labelled images; those without a verdict and without labels by eye are skipped.
        make: Makes the masks of cmcr without the position of the sun, also those with missing bands.
        make_sunlit: Makes the masks of cmcr with it, for images of which it is known.

    Returns:
        The counts, for `mask_tables`.
    """
    makers = {name: Tally() for name in MAKERS}
    lacking = {lack: (Tally(), Tally()) for lack in LACKS}
    for item in images:
        if item.by_eye is None and item.verdict is None:
            continue
        own = make(item)
        sunlit = make_sunlit(item) if item.suns else own
        for name, mask in {OWN: own, SUNLIT: sunlit, **teacher_masks(item)}.items():
            for key, hit, among in _measures(item, mask):
                makers[name].add(item.name, key, hit, among)
        for lack, bands in LACKS.items():
            reduced = without(item, bands)
            if reduced is None:
                continue
            for tally, mask in zip(lacking[lack], (make(reduced), own), strict=True):
                for key, hit, among in _measures(item, mask):
                    tally.add(item.name, key, hit, among)
    return MaskScores(makers, lacking)


def without(item: LabelledImage, bands: Iterable[str]) -> LabelledImage | None:
    """Take bands away from an image, as if it had come without them.

    Args:
        item: A labelled image.
        bands: Names of the bands.

    Returns:
        The image, these bands 0 and absent; None if it has none of them.
    """
    taken = np.isin(BANDS, list(bands))
    if not (item.present & taken).any():
        return None
    return replace(item, image=item.image * ~taken[:, None, None], present=item.present & ~taken)


def _measures(item: LabelledImage, mask: Classes) -> Iterator[tuple[Key, Mask, Mask]]:
    """Yield row and measure, the hits, and the pixels among which they are counted."""
    covered = (mask > CLEAR) & (mask != UNLABELLED)
    if item.by_eye is not None:
        for measure, (hit, among) in _by_eye(item.by_eye, mask, covered).items():
            yield (EVERY_SCENE, measure), hit, among
            yield (item.name, measure), hit, among
    if item.verdict in WHOLLY:
        yield (item.verdict, COVERED), covered, np.ones_like(covered)
    elif item.verdict == "clear":
        for row, among in _grounds(item).items():
            yield (row, FALSE), covered, among


def _by_eye(truth: Classes, mask: Classes, covered: Mask) -> dict[str, tuple[Mask, Mask]]:
    known, shadow = truth != UNLABELLED, truth == SHADOW
    truly, found_shadow = known & (truth != CLEAR), known & (mask == SHADOW)
    return {
        "cloud": (covered, (truth == THICK) | (truth == THIN)),
        "thick": (covered, truth == THICK),
        "thin": (covered, truth == THIN),
        "shadow": (covered, shadow),
        "iou": (covered & truly, known & (covered | truly)),
        "shadow iou": (found_shadow & shadow, found_shadow | shadow),
        "false alarms": (covered, truth == CLEAR),
    }


def _grounds(item: LabelledImage) -> dict[str, Mask]:
    """Pixels of a clear image by row of the table."""
    every = np.ones(item.image.shape[1:], bool)
    kinds = _to_pixels(ground_kinds(_even(item.image), item.present), every.shape)
    grounds = {"all": every, item.level: every, f"source {item.source}": every}
    for index, kind in enumerate(KINDS):
        grounds[kind] = grounds[f"{kind}, {item.level}"] = kinds == index
    return grounds


def _even(image: Array) -> Array:
    """Extend an image to whole cells: an odd last row or column is mirrored, as in a scene."""
    lines, columns = (reflected(0, -(-size // CELL) * CELL, size) for size in image.shape[1:])
    return np.asarray(crop(image, lines, columns))


def _to_pixels(cells: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    return cells.repeat(CELL, axis=0).repeat(CELL, axis=1)[: shape[0], : shape[1]]


def mask_tables(scores: MaskScores, where: str, where_by_eye: str) -> list[Table]:
    """Make tables of all scores in per cent; tables without images are omitted.

    Args:
        scores: From `score_masks`.
        where: Note on the places of the images, for the titles.
        where_by_eye: The same for the scenes labelled by eye.

    Returns:
        Scenes by eye, images wholly under cloud, false alarms on clear images, missing bands.
    """
    tables = [
        _eye_table(scores, where_by_eye),
        _wholly_table(scores, where),
        _false_table(scores, where),
        _lacking_table(scores, where),
    ]
    return [table for table in tables if table.rows]


def _eye_table(scores: MaskScores, where: str) -> Table:
    own = scores.makers[OWN]
    scenes = list(dict.fromkeys(row for row, measure in own.among if measure == "iou"))
    rows: dict[str, Row] = {}
    for scene in scenes:
        for name, tally in scores.makers.items():
            rates = {measure: tally.per_cent((scene, measure)) for measure in EYE_MEASURES}
            if row := _known(rates):
                rows[f"{scene}, {name}"] = row
    count = len(own.shares.get((EVERY_SCENE, "iou"), {}))
    return Table(f"Masks, scenes labelled by eye, n={count} ({where})", EYE_NOTE, EYE_MEASURES, rows)


def _wholly_table(scores: MaskScores, where: str) -> Table:
    own, notes = scores.makers[OWN], [WHOLLY_NOTE]
    rows: dict[str, Row] = {}
    for verdict, title in WHOLLY.items():
        key = (verdict, COVERED)
        if key not in own.shares:
            continue
        rates = {name: tally.per_cent(key) for name, tally in scores.makers.items()}
        rows[title] = _known(rates) | {"images": len(own.shares[key])}
        rows[f"{title}, worst image"], named = _worst(scores, key, min)
        notes.append(f"Worst {title}: {named}.")
    return Table(f"Masks, images wholly covered ({where})", " ".join(notes), (*MAKERS, "images"), rows)


def _false_table(scores: MaskScores, where: str) -> Table:
    own = scores.makers[OWN]
    rows: dict[str, Row] = {}
    kinds = [f"{kind}{level}" for kind in KINDS for level in ("", ", L1C", ", L2A")]
    sources = sorted(row for row, _ in own.among if row.startswith("source "))
    note = FALSE_NOTE
    for row in ("all", "L1C", "L2A", *kinds, *sources):
        key = (row, FALSE)
        if key in own.shares:
            rates = {name: tally.per_cent(key) for name, tally in scores.makers.items()}
            rows[row] = _known(rates) | {"images": len(own.shares[key]), "Mpx": own.among[key] / 1e6}
    if rows:
        rows["worst image"], named = _worst(scores, ("all", FALSE), max)
        note += f" Worst: {named}."
    return Table(f"Masks, false alarms on clear images ({where})", note, (*MAKERS, "images", "Mpx"), rows)


def _worst(scores: MaskScores, key: Key, worst: Callable[..., str]) -> tuple[Row, str]:
    """Worst image of each maker: shares in per cent, and the names."""
    row, names = {}, []
    for maker, tally in scores.makers.items():
        if shares := tally.shares.get(key):
            name = worst(shares, key=shares.__getitem__)
            row[maker] = 100 * shares[name]
            names.append(f"{name} ({maker})")
    return row, ", ".join(names)


def _lacking_table(scores: MaskScores, where: str) -> Table:
    measures = {
        "by eye": [(EVERY_SCENE, "cloud"), (EVERY_SCENE, "shadow")],
        "wholly thick": [("thick", COVERED)],
        "wholly thin": [("thin", COVERED)],
        FALSE: [("all", FALSE)],
    }
    complete = {name: scores.makers[OWN].per_cent(*keys) for name, keys in measures.items()}
    rows = {"all bands": _known(complete)}
    for lack, (reduced, whole) in scores.lacking.items():
        changes: dict[str, float | None] = {}
        for name, keys in measures.items():
            after, before = reduced.per_cent(*keys), whole.per_cent(*keys)
            changes[name] = None if after is None or before is None else after - before
        if row := _known(changes):
            images = {image for shares in whole.shares.values() for image in shares}
            rows[lack] = row | {"images": len(images)}
    rows = rows if len(rows) > 1 else {}
    return Table(f"Masks, missing bands ({where})", LACKING_NOTE, (*measures, "images"), rows)


def _known(rates: dict[str, float | None]) -> Row:
    return {name: rate for name, rate in rates.items() if rate is not None}


EYE_NOTE = (
    "Per cent of pixels of 10 m. cloud, thick, thin and shadow: share that is covered by the mask; iou: "
    "intersection over union of covered against clear; shadow iou: the same of shadow; false alarms: share "
    "of clear ground that is covered. sun known: by day or season and latitude, where the data tell these. "
    "CloudSEN12 network: source of most training labels; joined: the same with B10 and a spectral network."
)
WHOLLY_NOTE = "Per cent of pixels that are covered by the mask, in images that are entirely cloud."
FALSE_NOTE = (
    "Per cent of pixels that are covered by the mask, of images without any cloud, by kind of ground, level "
    "and source."
)
LACKING_NOTE = (
    "cmcr, per cent of pixels covered with all bands; below, the change in percentage points when bands are "
    "removed, over the images that have them. by eye: cloud and shadow in the scenes labelled by eye."
)
