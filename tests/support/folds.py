"""Weights of which the card names the fold they were trained without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.weights import Weights


def with_fold(weights: Weights, fold: int | None, folder: Path, name: str = "w") -> Path:
    data = {} if fold is None else {"fold": fold}
    card = {"name": f"held {fold}", "history": {"clouds": {"data": data}}}
    path = folder / f"{name}{fold}.safetensors"
    weights_file.save(path, replace(weights, card=card))
    return path
