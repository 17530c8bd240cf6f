"""All that the first pass learns from the clear ground of a scene, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.cirrus import TYPICAL_RATIO, without_cirrus
from cmcr_cli.ground.context import ContextBuilder, SceneContext
from cmcr_cli.ground.unmixing import NOTHING

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ground:
    """Knowledge of the ground below the clouds.

    Attributes:
        context: The spectrum to expect at every pixel.
        cirrus_ratio: What cirrus adds to the visible for 1 in B10, see `ground.cirrus`.
        unmixing: The matrices (levels, 13, 13) that part ground from thin cloud, see `ground.unmixing`.
    """

    context: SceneContext
    cirrus_ratio: np.float32
    unmixing: Floats

    @classmethod
    def unknown(cls, present: Bools) -> Self:
        """Make the ground of a scene that was not looked at.

        Args:
            present: Which of the 13 bands the scene has.

        Returns:
            What the prior says of its radar, without confidence, and no thin cloud is unmixed.
        """
        return cls(ContextBuilder(1, 1).finish(present), TYPICAL_RATIO, NOTHING)

    def without_cirrus(self, image: Floats) -> Floats:
        """Subtract the thin cirrus that B10 shows.

        Args:
            image: Reflectance (13, ...).

        Returns:
            Reflectance.
        """
        return without_cirrus(image, self.cirrus_ratio)

    def arrays(self) -> dict[str, Any]:
        """Take the ground apart for `numpy.savez`.

        Returns:
            All values by name.
        """
        context = {name: getattr(self.context, name) for name in SceneContext.__slots__}
        return {**context, "cirrus_ratio": self.cirrus_ratio, "unmixing": self.unmixing}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Make a ground of what `arrays` returned.

        Args:
            arrays: Values by name.

        Returns:
            The ground.

        Raises:
            LookupError: A name is missing.
        """
        fields = {name: arrays[name] for name in SceneContext.__slots__ if name != "cell"}
        context = SceneContext(**fields, cell=int(arrays["cell"]))
        return cls(context, np.float32(arrays["cirrus_ratio"]), arrays["unmixing"])
