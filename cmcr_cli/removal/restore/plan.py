"""Choice of the patches to restore."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.restore.schedule import Lattice
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.scene.area import Area
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.patches import PATCH, lattice_starts


@dataclass(frozen=True, slots=True)
class Plan:
    """The patches of a removal.

    Attributes:
        lattice: First rows and columns of all patches.
        ends: For each strip the row of the scene up to which it is finished when the next one is.
        todo: For each strip the first columns of the patches in which something is replaced.
    """

    lattice: Lattice
    ends: list[int]
    todo: list[list[int]]

    @property
    def patches(self) -> int:
        """All patches of the lattice."""
        return len(self.lattice.tops) * len(self.lattice.lefts)

    @property
    def patches_to_restore(self) -> int:
        """Patches that go through the network."""
        return sum(map(len, self.todo))


def plan_patches(grid: Grid, cloud_map: CloudMap, area: Area | None, options: RemoveOptions) -> Plan:
    """Decide which patches there are, and which of them show anything that is replaced.

    For an area of interest only the patches that bear on it are taken: those that show it and, since patches
    are blended before every further step, a ring around them for each.

    Args:
        grid: Of the scene.
        cloud_map: What covers it.
        area: The area of interest; None: all of the scene.
        options: Of the removal.

    Returns:
        The patches.
    """
    row0, col0 = grid.origin
    axes = (row0, grid.height), (col0, grid.width)
    tops, lefts = (lattice_starts(*axis, options.overlap) for axis in axes)
    ends = [min(top, grid.height) for top in [*tops[1:], grid.height]]
    strips, wanted = range(len(tops)), np.ones((len(tops), len(lefts)), bool)
    if area is not None:
        wanted = np.array([[area.touches(top, left, PATCH) for left in lefts] for top in tops])
        if options.steps > 1:
            wanted = ndimage.binary_dilation(wanted, np.ones((3, 3)), iterations=options.steps - 1)
        needed = [n for n in strips if wanted[n].any() or area.wants(tops[n], tops[n] + PATCH)]
        strips = range(needed[0], needed[-1] + 1)
    todo = [
        [
            left
            for left in itertools.compress(lefts, wanted[n])
            if not options.keep_clear or cloud_map.touches(tops[n], left, PATCH)
        ]
        for n in strips
    ]
    lattice = Lattice([tops[n] for n in strips], lefts, options.overlap)
    return Plan(lattice, [ends[n] for n in strips], todo)
