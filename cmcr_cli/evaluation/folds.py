"""Weights that were trained without one fold of places, for scoring on these places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cmcr_cli.errors import OptionError
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.weights import Weights
from cmcr_cli.training.data.labels import FOLDS


def load_folds(paths: Sequence[Path]) -> dict[int, Weights]:
    """Load weights that were trained without one fold of places.

    Args:
        paths: Weights files whose model cards name the fold.

    Returns:
        Weights by fold, in ascending order.

    Raises:
        OptionError: A file names no fold, or two files name the same fold.
        WeightsError: A file cannot be used.
    """
    folds: dict[int, tuple[Path, Weights]] = {}
    for path in paths:
        weights = weights_file.load(path)
        fold = held_out_fold(weights)
        if fold is None:
            raise OptionError(
                f"--held-out {path}: was not trained without one fold of places; expected weights of "
                f"`cmcr train clouds` with a fold from 1 to {FOLDS}, or no --held-out"
            )
        if fold in folds:
            raise OptionError(
                f"--held-out {path}: was trained without fold {fold}, like {folds[fold][0]}; expected one "
                "weights file per fold"
            )
        folds[fold] = path, weights
    return {fold: folds[fold][1] for fold in sorted(folds)}


def held_out_fold(weights: Weights) -> int | None:
    """Read which fold the cloud network was trained without.

    Args:
        weights: With their model card.

    Returns:
        The fold; None where the card names none.
    """
    value = weights.card
    for name in ("history", "clouds", "data", "fold"):
        value = value.get(name, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, int) and 1 <= value <= FOLDS else None
