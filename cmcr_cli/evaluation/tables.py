"""Tables from the scores of images: means, by cloud cover, by kind of cover, against the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cmcr_cli.evaluation.cloud_scores import KINDS
from cmcr_cli.evaluation.restoration import CONTEXT, REGIONS, Scored

Row = dict[str, float]

BINS = ("0-20 %", "20-50 %", "50-80 %", "80-100 %")
"""Bins of cloud cover; the upper end of a bin belongs to the next one."""

_UPPER = (0.2, 0.5, 0.8)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures.

    Attributes:
        title: Title.
        note: Explanation.
        columns: Names of the columns.
        rows: Figures by row and column; a row may lack columns.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: dict[str, Row]


def mean_table(
    title: str, note: str, metrics: Sequence[str], scored: Sequence[Scored], gflop: Mapping[str, float]
) -> Table:
    """Make a table of mean scores over images, with the cost.

    Args:
        title: Title.
        note: Explanation.
        metrics: Which scores.
        scored: Scores of the images, at least one.
        gflop: GFLOP by row; these rows also get the median of the seconds.

    Returns:
        The table; its title states the number of images.
    """
    rows: dict[str, Row] = {}
    for name in scored[0].rows:
        found = {metric: _values(scored, name, metric) for metric in metrics}
        rows[name] = {metric: float(np.mean(values)) for metric, values in found.items() if values}
        if name in gflop:
            rows[name] |= {
                "seconds": float(np.median(_values(scored, name, "seconds"))),
                "gflop": gflop[name],
            }
    return _chosen(f"{title}, n={len(scored)}", note, (*metrics, "seconds", "gflop"), rows)


def _values(scored: Sequence[Scored], name: str, metric: str) -> list[float]:
    return [one.rows[name][metric] for one in scored if metric in one.rows[name]]


def cover_table(title: str, scored: Sequence[Scored]) -> Table:
    """Make a table of the mean PSNR by cloud cover of the image.

    Args:
        title: Title.
        scored: Scores of the images, at least one.

    Returns:
        The table, a column for each of BINS.
    """
    index = np.digitize([one.cover for one in scored], _UPPER)
    groups = [[one for one, bin_ in zip(scored, index, strict=True) if bin_ == n] for n in range(len(BINS))]
    values = {
        f"{bin_}, n={len(group)}": {name: _values(group, name, "psnr") for name in scored[0].rows}
        for bin_, group in zip(BINS, groups, strict=True)
    }
    return _by_column(f"{title}, PSNR by cloud cover", "", values)


def region_table(title: str, note: str, scored: Sequence[Scored]) -> Table:
    """Make a table of the mean PSNR on thin cloud, thick cloud and shadow.

    Args:
        title: Title.
        note: Explanation.
        scored: Scores of the images, at least one.

    Returns:
        The table; each column is over the images that have enough of that cover.
    """
    values = {}
    for region in REGIONS:
        found = {name: _values(scored, name, f"psnr {region}") for name in scored[0].rows}
        values[f"{region}, n={len(found[CONTEXT])}"] = found
    return _by_column(f"{title}, PSNR by kind of cover", note, values)


def _by_column(title: str, note: str, values: Mapping[str, Mapping[str, list[float]]]) -> Table:
    """Means of values by column, then row; columns without values are omitted."""
    rows: dict[str, Row] = {}
    for column, found in values.items():
        for name, each in found.items():
            rows.setdefault(name, {}).update({column: float(np.mean(each))} if each else {})
    return _chosen(title, note, tuple(values), rows)


def context_table(title: str, scored: Sequence[Scored], names: Sequence[str]) -> Table:
    """Make a table of what the network adds to the context alone.

    Args:
        title: Title.
        scored: Scores of the images, at least one.
        names: Rows that are compared with the context.

    Returns:
        The table: mean gain in PSNR (dB), number of images below the context, and the worst difference.
    """
    rows = {}
    for name in names:
        gains = [one.rows[name]["psnr"] - one.rows[CONTEXT]["psnr"] for one in scored]
        below = float(sum(gain < 0 for gain in gains))
        rows[name] = {"mean gain": float(np.mean(gains)), "images below": below, "worst": min(gains)}
    columns = ("mean gain", "images below", "worst")
    return Table(f"{title}, PSNR against the context alone, n={len(scored)}", "", columns, rows)


def cloud_tables(rows: Mapping[str, Row]) -> list[Table]:
    """Make tables of the cloud network: its scores, and its false alarms by kind of ground.

    Args:
        rows: Results of `score_clouds` by set of images.

    Returns:
        Both tables.
    """
    rates = ("images", "iou", "covered", "thick", "thin", "shadow", "false alarms")
    kinds = tuple(f"{what} {kind}" for kind in KINDS for what in ("on", "cells"))
    return [
        _chosen("Cloud network", CLOUD_NOTE, rates, rows),
        _chosen("Cloud network, false alarms by kind of ground", KIND_NOTE, kinds, rows),
    ]


def _chosen(title: str, note: str, columns: Sequence[str], rows: Mapping[str, Row]) -> Table:
    """Table with the rows that have any of the `columns`, and the columns that any row has."""
    chosen = {name: {k: row[k] for k in columns if k in row} for name, row in rows.items()}
    used = tuple(name for name in columns if any(name in row for row in chosen.values()))
    return Table(title, note, used, {name: row for name, row in chosen.items() if row})


CLOUD_NOTE = (
    "Share of cells of 20 m, masks as remove finds them. iou: intersection over union of covered against "
    "clear; covered, and of that thick, thin and shadow: share that is found; false alarms: share of clear "
    "ground that is marked as covered. A series counts as trained on if one of its dates was."
)
KIND_NOTE = "Share of the clear cells of that kind that are marked as covered, and the number of such cells."
