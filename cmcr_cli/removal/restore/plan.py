"""Which patches there are, and which of them are to be restored."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cmcr_cli.removal.restore.schedule import Lattice
from cmcr_cli.removal.session import Session
from cmcr_cli.removal.survey.first_pass import Survey
from cmcr_cli.scene.patches import PATCH, lattice_starts


@dataclass(frozen=True, slots=True)
class Plan:
    """The lattice of patches, and for each of its rows the patches in which something is replaced.

    `ends` says for each row the line of the scene up to which it is finished when the next one is.
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
        """Those that go through the network."""
        return sum(map(len, self.todo))


def plan_of(session: Session, found: Survey) -> Plan:
    """Which patches there are, and which of them show anything that is replaced.

    For an area of interest only the patches that bear on it are taken: those that show it and, since patches
    are blended before every further step, a ring around them for each.
    """
    grid, options, area = session.optical.grid, session.options, session.area
    row0, col0 = grid.origin
    axes = (row0, grid.height), (col0, grid.width)
    tops, lefts = (lattice_starts(*axis, options.overlap) for axis in axes)
    ends = [min(top, grid.height) for top in [*tops[1:], grid.height]]
    rows, wanted = range(len(tops)), np.ones((len(tops), len(lefts)), bool)
    if area is not None:
        wanted = np.array([[area.touches(top, left, PATCH) for left in lefts] for top in tops])
        if options.steps > 1:
            wanted = ndimage.binary_dilation(wanted, np.ones((3, 3)), iterations=options.steps - 1)
        needed = [n for n in rows if wanted[n].any() or area.wants(tops[n], tops[n] + PATCH)]
        rows = range(needed[0], needed[-1] + 1)
    todo = [
        [
            left
            for left in itertools.compress(lefts, wanted[n])
            if not options.keep_clear or found.cover.touches(tops[n], left, PATCH)
        ]
        for n in rows
    ]
    lattice = Lattice([tops[n] for n in rows], lefts, options.overlap)
    return Plan(lattice, [ends[n] for n in rows], todo)
