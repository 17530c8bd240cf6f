"""What a user may ask of one cloud removal, checked before any file is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cmcr_cli.errors import OptionError
from cmcr_cli.scene.patches import OVERLAPS

Units = Literal["auto", "db", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOptions:
    """Inputs, outputs and settings of `remove`; paths of inputs may be any that GDAL knows."""

    s2: str
    output: Path
    s1: str | None = None
    steps: int = 1  # network evaluations per patch: 1 is nearest to the truth on average, more draw detail
    samples: int = 1  # images that are drawn and averaged; more than 1 need steps >= 2
    seed: int = 0
    mask: str = "auto"  # "auto", "all", or the path of a raster of 0/1 or SCL codes
    keep_clear: bool = True  # copy clear pixels bit for bit
    context: bool = True  # learn the scene's own colours first
    bands: tuple[str, ...] | None = None  # names of the Sentinel-2 bands in file order
    offset: float | None = None  # DN, 0 or -1000; None takes the file's tags
    s1_units: Units = "auto"
    overlap: int = 32  # pixels between neighbouring patches
    weights: Path | None = None  # None: the weights that come with cmcr
    device: str = "auto"
    batch_size: int | None = None  # None: chosen by device
    provenance: Path | None = None
    uncertainty: Path | None = None  # needs samples >= 2
    quicklook: Path | None = None
    overwrite: bool = False
    resume: bool = False  # keep what is done when stopped, and go on from there when started again
    creation_options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise OptionError for values out of range or that contradict each other."""
        low, high = OVERLAPS
        limits = (
            ("--steps", self.steps, 1, 64),
            ("--samples", self.samples, 1, 256),
            ("--seed", self.seed, 0, 2**63 - 1),
            ("--overlap", self.overlap, low, high),
            ("--batch-size", 1 if self.batch_size is None else self.batch_size, 1, 4096),
        )
        for name, value, least, most in limits:
            if not least <= value <= most:
                raise OptionError(f"{name} {value}: expected {least} to {most}")
        if self.uncertainty is not None and self.samples < 2:
            raise OptionError("--uncertainty is the spread of several samples; expected --samples 2 or more")
        if self.samples > 1 and self.steps == 1:
            raise OptionError(
                f"--samples {self.samples} with --steps 1: samples of one step are all alike, for it hardly "
                "depends on the noise; expected --steps 2 or more"
            )

    @property
    def outputs(self) -> dict[str, Path]:
        """Every file that will be written, by the option that names it."""
        named = {
            "--output": self.output,
            "--provenance": self.provenance,
            "--uncertainty": self.uncertainty,
            "--quicklook": self.quicklook,
        }
        return {option: path for option, path in named.items() if path is not None}
