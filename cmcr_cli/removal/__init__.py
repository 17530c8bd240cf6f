"""Where scene and model meet: options, plan and run of one cloud removal."""

from cmcr_cli.removal.options import RemoveOptions
from cmcr_cli.removal.run import Report, remove

__all__ = ["RemoveOptions", "Report", "remove"]
