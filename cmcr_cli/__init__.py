"""cmcr: cloud removal for whole Sentinel-2 scenes. The public Python API."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cmcr_cli.version import __version__

if TYPE_CHECKING:
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
    "load_model",
    "open_scene",
    "remove",
    "write_mask",
]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used: `cmcr --help` must not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = {"CmcrError": "cmcr_cli.errors", "CmcrWarning": "cmcr_cli.warning_kinds"}
    return getattr(import_module(module.get(name, "cmcr_cli.removal")), name)
