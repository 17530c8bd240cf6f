"""cmcr: cloud removal for whole Sentinel-2 scenes. The public Python API."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cmcr_cli.version import __version__

if TYPE_CHECKING:
    from cmcr_cli.arrays.dataset import estimate_dataset, remove_dataset
    from cmcr_cli.errors import CmcrError
    from cmcr_cli.removal import (
        Estimate,
        MaskReport,
        Model,
        RemoveOptions,
        Report,
        Scene,
        Sun,
        estimate,
        load_model,
        open_scene,
        remove,
        write_mask,
    )
    from cmcr_cli.warning_kinds import CmcrWarning

__all__ = [
    "CmcrError",
    "CmcrWarning",
    "Estimate",
    "MaskReport",
    "Model",
    "RemoveOptions",
    "Report",
    "Scene",
    "Sun",
    "__version__",
    "estimate",
    "estimate_dataset",
    "load_model",
    "open_scene",
    "remove",
    "remove_dataset",
    "write_mask",
]


_PLACES = {
    "CmcrError": "cmcr_cli.errors",
    "CmcrWarning": "cmcr_cli.warning_kinds",
    "estimate_dataset": "cmcr_cli.arrays.dataset",
    "remove_dataset": "cmcr_cli.arrays.dataset",
}
"""Modules of the names that are not in `cmcr_cli.removal`."""


def __getattr__(name: str) -> Any:
    """Import the API when it is first used: `cmcr --help` must not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES.get(name, "cmcr_cli.removal")), name)


def __dir__() -> list[str]:
    """The API, also what is not imported yet."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
