"""What other dates of the same ground say of today's spectrum, and how far that is to be believed.

Where a reference is clear, today's spectrum is predicted from it and the radar by a `Readout`; what the
readout leaves on clear ground is carried into the holes, as the context does. Where no reference is clear the
context remains. In between, the two are mixed by their errors, which are measured on clear ground that was
hidden for the purpose, as a function of the distance to what is still seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.context import SceneContext, upsampled
from cmcr_cli.ground.pyramid import hats, upsample
from cmcr_cli.ground.radar_basis import RADAR_BASIS, radar_basis
from cmcr_cli.ground.reference_fit import Readout, subsets
from cmcr_cli.ground.spectral_basis import FEATURES, looks, read_out, trust
from cmcr_cli.scene.bands import BANDS

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

NODES: Floats = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], np.float32)
"""Confidences at which errors are known; between them they are interpolated."""

_RADAR = slice(1, 2 + RADAR_BASIS)


@dataclass(frozen=True, slots=True)
class View:
    """A window of a reference, with `spectral_basis.MARGIN` pixels more on each side.

    Attributes:
        image: Reflectance (13, h, w).
        clear: Where its ground shows (h, w).
    """

    image: Floats
    clear: Bools


@dataclass(frozen=True, slots=True)
class Expected:
    """Expectation for a window.

    Attributes:
        spectrum: Reflectance (13, h, w), at least 0.
        confidence: 0 to 1 (h, w): 1 where the error is that of the context within clear ground.
        source: Number of the reference that counts most, from 1; 0 where it is none (h, w).
        doubt: Expected square error of the prediction as a part of that of the context alone, 0 to 1 (h, w).
    """

    spectrum: Floats
    confidence: Floats
    source: NDArray[np.uint8]
    doubt: Floats


@dataclass(frozen=True, slots=True)
class References:
    """The fitted references of one scene.

    Attributes:
        readouts: How each subset of them is read.
        field: (14, rows, columns) per cell of `cell` pixels: the filled residual of 13 bands, and confidence.
        cell: Pixels along the side of a cell.
        moments: Mean squares at NODES (3, nodes): error of the context, of the readouts, and the mean of the
            product of the two, in units of the variance of the bands.
        typical: Error of the readouts for which they hold.
        centres: Of the classes of each reference (references, CLASSES, bands).
        limits: Least and greatest reflectance that a prediction may have (2, bands): cloud that a mask missed
            in a reference is far from all ground, and regressions lead anywhere there.
    """

    readouts: Mapping[tuple[int, ...], Readout]
    field: NDArray[np.float16]
    cell: int
    moments: Floats
    typical: float
    centres: Floats
    limits: Floats

    def evaluate(
        self,
        context: SceneContext,
        top: int,
        left: int,
        height: int,
        width: int,
        radar: Floats | None,
        radar_valid: Bools | None,
        views: Sequence[View],
    ) -> Expected:
        """Predict a window.

        Args:
            context: That of the scene.
            top: First row, like the other three an even number.
            left: First column.
            height: Rows.
            width: Columns.
            radar: VV and VH in dB (2, height + 2 MARGIN, width + 2 MARGIN), None where there is none.
            radar_valid: Where it holds data.
            views: The references in their order.

        Returns:
            The prediction. That of a pixel does not depend on the window.
        """
        basis = None if radar is None or radar_valid is None else radar_basis(radar, radar_valid)
        spectrum, confidence = upsampled(context.from_basis(top, left, height, width, basis))
        trusted = [trust(view.clear) for view in views]
        chances = _chances(trusted, self.readouts)
        source = np.zeros((height, width), np.uint8)
        if not chances:
            return Expected(spectrum, confidence, source, np.ones((height, width), np.float32))
        carried = self._carried(top, left, height, width)
        filled = upsample(upsample(carried[-1:], axis=2), axis=1)[0]
        seen = [
            looks(view.image, view.clear) if shown.any() else None
            for view, shown in zip(views, trusted, strict=True)
        ]
        total, weights = (
            np.zeros((height, width), np.float32),
            np.zeros((len(views), height, width), np.float32),
        )
        mixed, error = np.zeros_like(spectrum), np.zeros((height, width), np.float32)
        for subset, chance in chances.items():
            readout = self.readouts[subset]
            share, own = self._share(readout, filled)
            share *= chance
            mixed += share * self._read(subset, basis, seen, chance > 0, carried[:-1])
            total += share
            error += chance * own
            for place, part in zip(subset, readout.shares, strict=True):
                weights[place] += share * part
        rest = 1 - sum(chances.values())
        error += rest * self._context_error(confidence)
        spectrum = np.maximum(mixed + (1 - total) * spectrum, 0)
        before = np.maximum(self._context_error(confidence), 1e-12)
        doubt = np.asarray(np.clip(error / before, 0, 1), np.float32)
        confidence = np.maximum(confidence, self._confidence(error))
        strongest = weights.argmax(axis=0)
        source[total > 0.5] = (strongest + 1).astype(np.uint8)[total > 0.5]
        return Expected(spectrum, confidence, source, doubt)

    def regressed(
        self, seen: Sequence[Floats], trusted: Sequence[Bools], basis: Floats | None
    ) -> tuple[Bools, Floats]:
        """Evaluate the readouts alone for pixels, without the residual of the ground nearby.

        Args:
            seen: `spectral_basis.looks` of each reference, each (LOOKS, h, w).
            trusted: Where each of them is used, each (h, w).
            basis: `radar_basis` at the pixels; None where there is no radar.

        Returns:
            Where any reference is used (h, w), and reflectance (13, h, w), 0 elsewhere.
        """
        found = np.zeros((len(BANDS), *trusted[0].shape), np.float32)
        known = np.zeros(trusted[0].shape, np.bool_)
        chances = _chances([each.astype(np.float32) for each in trusted], self.readouts)
        for subset, chance in chances.items():
            here = chance > 0
            known |= here
            found[:, here] = self._applied(subset, None if basis is None else basis[:, here], seen, here)
        return known, found

    def _applied(
        self, subset: tuple[int, ...], basis: Floats | None, seen: Sequence[Floats | None], here: Bools
    ) -> Floats:
        """Apply the readout of a subset to the pixels `here`, (13, n); `basis` is that of these pixels."""
        weights = self.readouts[subset].weights
        found = np.repeat(weights[:, :1], here.sum(), axis=1)
        if basis is not None:
            found += weights[:, _RADAR] @ basis
        for place, each in enumerate(subset):
            shown = seen[each]
            if shown is not None:
                first = _RADAR.stop + place * FEATURES
                own = weights[:, first : first + FEATURES]
                pixels = shown.reshape(len(shown), -1) if here.all() else shown[:, here]
                found += read_out(pixels, self.centres[each], own)
        return found

    def _carried(self, top: int, left: int, height: int, width: int) -> Floats:
        """Return the field in the blocks of a window and around it (14, height / 2 + 2, width / 2 + 2)."""
        rows, columns = (
            np.arange(-1, size // 2 + 1) + start // 2 for start, size in ((top, height), (left, width))
        )
        used, down, across = hats(rows, columns, self.field.shape[1:], self.cell // 2)
        return np.asarray(down @ self.field[:, *used] @ across.T, np.float32)

    def _read(
        self,
        subset: tuple[int, ...],
        basis: Floats | None,
        seen: Sequence[Floats | None],
        here: Bools,
        carried: Floats,
    ) -> Floats:
        """Return what a regression says (13, height, width), complete only where it is asked for.

        What follows from the radar and what is `carried` are known for blocks of 2 x 2 pixels, and
        interpolated.
        """
        if basis is not None:
            carried = carried + np.tensordot(self.readouts[subset].weights[:, _RADAR], basis, 1)
        image = upsample(upsample(carried, axis=2), axis=1)
        said = self._applied(subset, None, seen, here)
        if here.all():
            image += said.reshape(image.shape)
        else:
            image[:, here] += said
        low, high = self.limits[..., None, None]
        return np.asarray(np.clip(image, low, high, out=image))

    def _share(self, readout: Readout, confidence: Floats) -> tuple[Floats, Floats]:
        """Weight of a readout against the context, 0 to 1, and the error of the mean of both."""
        context, own, both = (
            np.interp(confidence, NODES, moment).astype(np.float32) for moment in self.moments
        )
        factor = readout.error / max(self.typical, 1e-12)
        own, both = own * np.float32(factor), both * np.float32(np.sqrt(factor))
        share = np.clip((context - both) / np.maximum(context + own - 2 * both, 1e-9), 0, 1)
        error = share**2 * own + (1 - share) ** 2 * context + 2 * share * (1 - share) * both
        return share, error

    def _context_error(self, confidence: Floats) -> Floats:
        return np.asarray(np.interp(confidence, NODES, self.moments[0]), np.float32)

    def _confidence(self, error: Floats) -> Floats:
        """Return the confidence at which the context has the same error."""
        falling = np.maximum.accumulate(self.moments[0][::-1])  # from confidence 1 down, errors ascending
        steps = falling + np.arange(len(falling), dtype=np.float32) * np.float32(1e-7)
        return np.asarray(np.interp(error, steps, NODES[::-1]), np.float32)


def _chances(
    trusted: Sequence[Floats], readouts: Mapping[tuple[int, ...], Readout]
) -> dict[tuple[int, ...], Floats]:
    """Part that each subset has at each pixel: that its references are trusted and all others are not.

    A subset is read by the readout of those of its parts that errs least.
    """
    count = len(trusted)
    found: dict[tuple[int, ...], Floats] = {}
    for subset in subsets(count):
        chance = np.ones_like(trusted[0])
        for each, shown in enumerate(trusted):
            chance = chance * (shown if each in subset else 1 - shown)
        if not chance.any():
            continue
        parts = [part for part in readouts if set(part) <= set(subset)]
        if parts:
            best = min(parts, key=lambda part: (readouts[part].error, part))
            found[best] = found[best] + chance if best in found else chance
    return found


def arrays_of(references: References) -> dict[str, Any]:
    """Take references apart, to store them with `numpy.savez`.

    Args:
        references: The references.

    Returns:
        Arrays and numbers by name.
    """
    named: dict[str, Any] = {
        "reference_field": references.field,
        "reference_cell": references.cell,
        "reference_moments": references.moments,
        "reference_typical": references.typical,
        "reference_centres": references.centres,
        "reference_limits": references.limits,
    }
    for subset, readout in references.readouts.items():
        name = "reference_" + "_".join(map(str, subset))
        named[f"{name}_weights"], named[f"{name}_shares"] = readout.weights, readout.shares
        named[f"{name}_error"] = np.array([readout.error, readout.optimism])
    return named


def references_from(arrays: Mapping[str, Any]) -> References | None:
    """Put references together again.

    Args:
        arrays: From `arrays_of`, perhaps with others.

    Returns:
        The references; None where there were none.
    """
    if "reference_centres" not in arrays:
        return None
    readouts = {}
    for subset in subsets(len(arrays["reference_centres"])):
        name = "reference_" + "_".join(map(str, subset))
        if f"{name}_weights" in arrays:
            error, optimism = (float(value) for value in arrays[f"{name}_error"])
            readouts[subset] = Readout(arrays[f"{name}_weights"], arrays[f"{name}_shares"], error, optimism)
    return References(
        readouts,
        arrays["reference_field"],
        int(arrays["reference_cell"]),
        arrays["reference_moments"],
        float(arrays["reference_typical"]),
        arrays["reference_centres"],
        arrays["reference_limits"],
    )
