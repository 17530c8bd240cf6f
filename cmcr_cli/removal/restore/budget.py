"""Memory that a removal needs besides what it holds, and how much of it results may take that only wait."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cmcr_cli.errors import CmcrError
from cmcr_cli.ground.context import block_bytes
from cmcr_cli.model.costs import WORKING_BYTES, feature_bytes
from cmcr_cli.output.cog import BLOCK
from cmcr_cli.removal.opening.session import CACHE_BYTES, Session
from cmcr_cli.runtime import limits
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.patches import PATCH, lattice_starts

IN_FLIGHT = 448 * 2**20
"""Bytes of strips that are at work or wait for their next step; what waits beyond that goes to disk."""


EXPECTED = (len(BANDS) + 2) * 2 + 1
"""Bytes of a pixel of what references lead to expect, and of their number: see `Strip`."""

GATHERED = 64 * 8 * 4
"""Bytes of a column of what is gathered into coarser pixels at once: sums of 64 rows, in steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Bytes of one removal; get one from `Budget.of`.

    Attributes:
        columns: Of a strip of patches.
        scene_columns: Of the scene.
        written_columns: Of the output.
        stored: Bytes of a pixel of the scene as it is stored, all bands.
        read: Bytes of a pixel of a strip: the scene, its radar, and what references lead to expect.
        kept: What is left of these once its patches are restored.
        canvas: Bytes of a pixel of the blended estimates between two steps.
        last_canvas: The same after the last step.
        cached: Bytes of a patch that waits for its next step.
        deviation: Bytes of a pixel of the uncertainty.
        steps: Steps per patch.
        overlap: Pixels between neighbouring patches.
        workers: Number of workers.
        devices: On which the networks are.
        native: Bytes that the bands in their own pixels hold.
    """

    columns: int
    scene_columns: int
    written_columns: int
    stored: int
    read: int
    kept: int
    canvas: int
    last_canvas: int
    cached: int
    deviation: int
    steps: int
    overlap: int
    workers: int
    devices: tuple[torch.device, ...]
    native: int = 0

    @classmethod
    def of(cls, session: Session) -> Budget:
        """Make the budget of an open session.

        Args:
            session: What is open.

        Returns:
            The budget.
        """
        options, optical = session.options, session.optical
        grid = optical.grid
        lefts = lattice_starts(grid.origin[1], grid.width, options.overlap)
        stored = len(optical.names) * optical.dtype.itemsize
        features = feature_bytes(session.weights.denoiser.network_config, PATCH)
        return cls(
            columns=lefts[-1] + PATCH - lefts[0],
            scene_columns=grid.width,
            written_columns=(grid if session.area is None else session.area.grid).width,
            stored=stored,
            read=stored + (0 if session.radar is None else 9) + (EXPECTED if session.references else 0),
            kept=stored + (1 if session.references else 0),
            canvas=len(BANDS) * options.samples * 2 if options.steps > 1 else 0,
            last_canvas=len(BANDS) * (2 if options.samples > 1 else 1) * 4,
            cached=features + block_bytes(PATCH),
            deviation=0 if options.uncertainty is None else len(optical.names) * 4,
            steps=options.steps,
            overlap=options.overlap,
            workers=len(session.workers.workers),
            devices=session.devices,
            native=BLOCK * optical.dtype.itemsize * sum(each.grid.width for each in session.native)
            + (GATHERED * grid.width if session.native else 0),
        )

    @property
    def strips(self) -> int:
        """Bytes of the strips at work: what one has read, what is left of the one above, their canvases."""
        # Of each step that is done some rows stay, which a strip shares with the next.
        shared = self.steps * self.canvas * self.overlap
        return self.columns * (
            PATCH * (self.read + self.kept + self.canvas + max(self.canvas, self.last_canvas)) + shared
        )

    @property
    def to_come(self) -> int:
        """Bytes of the strips at work, and of what the outputs hold besides."""
        # The writer's buffer, the new image, and what is on its way.
        buffers = self.stored * (BLOCK * self.written_columns + 2 * PATCH * self.scene_columns)
        return self.strips + buffers + self.native + 3 * BLOCK * self.deviation * self.written_columns

    def waiting(self, patches: int) -> int:
        """Compute the memory of what waits between two steps.

        Args:
            patches: Patches of a strip that are restored.

        Returns:
            Bytes.
        """
        return (self.steps - 1) * (self.columns * PATCH * (self.read + self.canvas) + patches * self.cached)

    def check(self) -> None:
        """Compare the memory that a run needs with the limits of this process.

        Raises:
            CmcrError: The limits leave less.
        """
        left = limits.available()
        needed = self.to_come + WORKING_BYTES * self.workers + CACHE_BYTES
        if left is not None and left < needed:
            raise CmcrError(
                f"{needed >> 20} MB more of memory are needed for a scene of {self.scene_columns} columns, "
                f"and the limit of this process (ulimit -v, or its control group) leaves "
                f"{max(left, 0) >> 20} MB. Raise the limit, or take fewer --steps, --samples, or threads "
                "(OMP_NUM_THREADS=1)."
            )

    def spill_bytes(self) -> int:
        """Compute the memory that may be taken by what waits for its next step.

        Returns:
            Bytes; 0 or less if there is none left.
        """
        spare, left = IN_FLIGHT - self.strips, limits.available()
        if left is not None:
            spare = min(spare, left - self.to_come - WORKING_BYTES * self.workers)
        return spare

    def spill_limits(self) -> dict[torch.device, int]:
        """Compute how much may wait on each device. Most of a GPU's memory is left to its workers.

        Returns:
            Bytes by device.
        """
        found = {torch.device("cpu"): self.spill_bytes()}
        for device in self.devices:
            if device.type == "cuda":
                found[device] = torch.cuda.get_device_properties(device).total_memory // 4
        return found
