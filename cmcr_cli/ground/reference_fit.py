"""How the spectrum of today follows from other dates of the same ground: regressions on a sample of pixels.

Any subset of the references may be what is clear at a pixel. For each subset there is one readout: a mean of
the regressions on all of it together and of those on each of its references alone, weighted by the covariance
of their errors on parts of the scene that were left out of the fit (Bates and Granger 1969, "The combination
of forecasts"). Each of them is made twice: with all features and the radar, and with the spectrum by classes
alone. Gross outliers of a first fit are left out, since masks miss some cloud and fields change.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.ground.radar_basis import RADAR_BASIS, rounded
from cmcr_cli.ground.ridge import CONSTANT, SPECTRUM, ridge
from cmcr_cli.ground.spectral_basis import FEATURES, PLAIN, USED, class_centres, features, identity
from cmcr_cli.scene.bands import BANDS

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

FOLDS = 3
"""Parts of the sample; what is fitted on two of them is tested on the third."""

FEWEST = 60
"""Samples from which on a regression is made."""

USEFUL = 0.98
"""A reference must bring the error outside the fit below this part of that without it."""

_STRENGTHS = (0.004, 0.05, 0.5)  # of the ridge; the one with less error outside its fit is taken
_FEW = 30.0  # samples that count as much as what is known before the fit
_KEPT = 0.9  # of the samples, however they are explained
_OUTLYING = 30.0  # times the median error; less is ground that is hard to tell, not cloud
_CHUNK = 4096
_MOST = 65536  # samples times references
_ALIKE = 0.05  # of the mean error variance, added to its covariance: weights from few samples are noise


@dataclass(frozen=True, slots=True)
class Samples:
    """Pixels of the scene that are clear today, in a fixed order.

    Attributes:
        image: Their reflectance today (n, 13).
        radar: Their `radar_basis` (n, 1 + RADAR_BASIS), 0 where there is none.
        references: The `looks` of each reference (n, references, LOOKS).
        clear: Where it is clear (n, references).
        fold: Part of the sample that each belongs to (n,), from 0 to FOLDS - 1.
        guides: Places of references that are no dates: nothing is known of them before the fit.
    """

    image: Floats
    radar: Floats
    references: Floats
    clear: Bools
    fold: NDArray[np.intp]
    guides: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Readout:
    """Regression that reads a subset of the references.

    Attributes:
        weights: (13, 2 + RADAR_BASIS + n FEATURES) for a constant, the radar basis, and the features of the
            references of the subset in their order; gives reflectance.
        shares: How much each of them counts (n,), the sum is 1.
        error: Mean square error outside the fit, in units of the variance of the bands.
        optimism: The same within the fit, as a part of `error`.
    """

    weights: Floats
    shares: Floats
    error: float
    optimism: float


def subsets(count: int) -> list[tuple[int, ...]]:
    """List what may be clear at a pixel.

    Args:
        count: Number of references.

    Returns:
        All subsets of their places but the empty one, smaller ones first.
    """
    sizes = range(1, count + 1)
    return [subset for size in sizes for subset in itertools.combinations(range(count), size)]


def classes_of(samples: Samples) -> Floats:
    """Divide the ground of each reference into classes by its spectrum.

    Args:
        samples: What is known of the scene.

    Returns:
        Centres of the classes (references, CLASSES, bands), in the units of `spectral_basis.spectrum`.
    """
    seen = samples.references[..., : len(USED)].astype(np.float32)
    return np.stack([class_centres(seen[samples.clear[:, k], k]) for k in range(samples.clear.shape[1])])


def fit_readouts(
    samples: Samples, centres: Floats, present: Bools, variance: Floats
) -> dict[tuple[int, ...], Readout]:
    """Fit all subsets of which enough samples are clear.

    Args:
        samples: What is known of the scene.
        centres: See `classes_of`.
        present: Bands that the scene has (13,).
        variance: Of the clear ground per band (13,), the unit of errors.

    Returns:
        Readouts by subset.
    """
    found: dict[tuple[int, ...], Readout] = {}
    alone: dict[int, list[_Regression]] = {}
    for subset in subsets(samples.clear.shape[1]):
        seen = np.flatnonzero(samples.clear[:, subset].all(1))
        if len(seen) < FEWEST:
            continue
        thin = -(-len(seen) * len(subset) // _MOST)  # what many references say together takes memory
        fit = _Fit(samples, seen[::thin], subset, centres, present, variance)
        parts = [fit.regression(plain=plain) for plain in (False, True)]
        if len(subset) == 1:
            alone[subset[0]] = parts
        else:
            parts += [part.within(subset) for each in subset for part in alone[each]]
        found[subset] = fit.combined(parts)
    return found or _unfitted(samples)


def explains_nothing(samples: Samples, present: Bools, variance: Floats) -> list[int]:
    """Find references that predict today's ground no better than the radar, or its mean, does without them.

    Args:
        samples: What is known of the scene.
        present: Bands that the scene has (13,).
        variance: Of the clear ground per band (13,), the unit of errors.

    Returns:
        Their places; a reference of which too little is known is not among them.
    """
    found, centres = [], classes_of(samples)
    for place in range(samples.clear.shape[1]):
        seen = np.flatnonzero(samples.clear[:, place])
        if len(seen) >= FEWEST:
            errors = []
            for subset in ((), (place,)):
                fit = _Fit(samples, seen, subset, centres, present, variance)
                errors.append(fit.combined([fit.regression(plain=False)]).error)
            if errors[1] > USEFUL * errors[0]:
                found.append(place)
    return found


def mean_error(readouts: Mapping[tuple[int, ...], Readout], samples: Samples) -> tuple[float, float]:
    """Average how far readouts err over the samples, at each by the largest subset that is clear.

    Args:
        readouts: From `fit_readouts`.
        samples: What they were fitted on.

    Returns:
        Error and optimism, as of a `Readout`.
    """
    errors, kept = np.zeros(len(samples.clear)), np.ones(len(samples.clear))
    for subset, readout in readouts.items():  # the largest that is clear comes last
        seen = samples.clear[:, subset].all(1)
        errors[seen], kept[seen] = readout.error, readout.optimism
    used = errors > 0
    if not used.any():
        return next((each.error for each in readouts.values()), 1.0), 1.0
    return float(errors[used].mean()), float(kept[used].mean())


def _unfitted(samples: Samples) -> dict[tuple[int, ...], Readout]:
    """Readouts for a scene that shows no clear ground: today is as the references were."""
    return {
        subset: Readout(
            _identity(subset).astype(np.float32), np.full(len(subset), 1 / len(subset), np.float32), 0.3, 1.0
        )
        for subset in subsets(samples.clear.shape[1])
        if not set(subset) & set(samples.guides)
    }


def _identity(subset: Sequence[int], guides: Sequence[int] = ()) -> NDArray[np.float64]:
    """What is known before the fit: today is as the dates of a subset were, on average."""
    own = identity()
    each = own[:, 1:] / max(len(set(subset) - set(guides)), 1)
    slopes = [each * (place not in guides) for place in subset]
    return np.concatenate([own[:, :1], np.zeros((len(BANDS), 1 + RADAR_BASIS)), *slopes], axis=1)


@dataclass(frozen=True, slots=True)
class _Regression:
    """Weights of one regression fitted on all samples, and on all but each of the folds."""

    subset: tuple[int, ...]
    whole: NDArray[np.float64]
    folds: Sequence[NDArray[np.float64]]

    def within(self, subset: tuple[int, ...]) -> _Regression:
        """Return the same regression as one of a larger subset."""

        def wider(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            first = 2 + RADAR_BASIS
            blocks = [weights[:, :first]]
            for each in subset:
                own = weights[:, first:] if each in self.subset else np.zeros((len(BANDS), FEATURES))
                blocks.append(own)
            return np.concatenate(blocks, axis=1)

        return _Regression(subset, wider(self.whole), [wider(fold) for fold in self.folds])


class _Fit:
    """The samples of one subset."""

    def __init__(
        self,
        samples: Samples,
        used: NDArray[np.intp],
        subset: tuple[int, ...],
        centres: Floats,
        present: Bools,
        variance: Floats,
    ) -> None:
        channels = CONSTANT + 2 + RADAR_BASIS + len(subset) * FEATURES
        self._rows = np.ones((len(used), channels), np.float32)
        self._rows[:, SPECTRUM] = samples.image[used]
        self._rows[:, CONSTANT + 1 : CONSTANT + 2 + RADAR_BASIS] = samples.radar[used]
        for place, each in enumerate(subset):
            first = CONSTANT + 2 + RADAR_BASIS + place * FEATURES
            seen = samples.references[used, each].T.astype(np.float32)
            self._rows[:, first : first + FEATURES] = rounded(features(seen, centres[each]), 9).T
        self._fold, self._subset = samples.fold[used], subset
        self._bands = np.flatnonzero(present)
        self._scale = 1 / np.sqrt(variance[self._bands]).astype(np.float64)
        self._prior = _identity(subset, samples.guides)
        self._trim()
        self._grams = [self._gram(self._fold == fold) for fold in range(FOLDS)]

    def _trim(self) -> None:
        """Leave out the samples that a first fit explains worst."""
        everything = np.ones(len(self._rows), np.bool_)
        inputs = np.ones(self._prior.shape[1], np.bool_)
        first = self._fitted(self._gram(everything), _STRENGTHS[-1], inputs)
        error = np.square(self._errors(first, everything)).mean(1)
        kept = error <= max(np.quantile(error, _KEPT), _OUTLYING * np.median(error))
        self._rows, self._fold = self._rows[kept], self._fold[kept]

    def regression(self, *, plain: bool) -> _Regression:
        """Fit all references of the subset together.

        Args:
            plain: Whether only their spectrum by classes explains, not the radar, the surroundings and the
                random features: less is learnt by heart.
        """
        used = np.ones(self._prior.shape[1], np.bool_)
        if plain:
            used[1 : 2 + RADAR_BASIS] = False
            used[2 + RADAR_BASIS :] = np.tile(PLAIN, len(self._subset))
        grams, whole = self._grams, np.sum(self._grams, axis=0)

        def without_each(strength: float) -> list[NDArray[np.float64]]:
            return [self._fitted(whole - gram, strength, used) for gram in grams]

        found = {strength: without_each(strength) for strength in _STRENGTHS}
        best = min(found, key=lambda strength: float(np.square(self._outside(found[strength])).mean()))
        return _Regression(self._subset, self._fitted(whole, best, used), found[best])

    def combined(self, parts: Sequence[_Regression]) -> Readout:
        """Weigh regressions by the covariance of their errors outside of their fits."""
        errors = [self._outside(part.folds).ravel() for part in parts]
        covariance = np.array([[(a * b).mean() for b in errors] for a in errors])
        covariance += (_ALIKE * np.trace(covariance) / len(parts) + 1e-9) * np.eye(len(parts))
        weights = np.maximum(np.linalg.solve(covariance, np.ones(len(parts))), 0)
        weights /= weights.sum()
        readout = sum(weight * part.whole for weight, part in zip(weights, parts, strict=True))
        outside = sum(weight * error for weight, error in zip(weights, errors, strict=True))
        inside = np.square(self._errors(readout, np.ones(len(self._rows), np.bool_))).mean()
        # What was measured on few samples is believed less.
        error = float(np.square(outside).mean()) * (1 + _FEW / len(self._rows))
        return Readout(
            readout.astype(np.float32),
            self._shares(readout),
            error,
            float(min(inside / max(error, 1e-12), 1)),
        )

    def _gram(self, rows: Bools) -> NDArray[np.float64]:
        chosen, gram = self._rows[rows], np.zeros((self._rows.shape[1],) * 2)
        for first in range(0, len(chosen), _CHUNK):  # of 64 bits: the sums are exact
            part = chosen[first : first + _CHUNK].astype(np.float64)
            gram += part.T @ part
        return gram

    def _fitted(self, gram: NDArray[np.float64], strength: float, used: Bools) -> NDArray[np.float64]:
        """Fit from sums of products, by the inputs that are `used`; the weights of all others are 0."""
        chosen = np.flatnonzero(np.concatenate([np.ones(CONSTANT, np.bool_), used]))
        weights = np.zeros_like(self._prior)
        part = gram[np.ix_(chosen, chosen)]
        weights[:, used] = ridge(part, np.zeros(len(BANDS)), self._prior[:, used], strength, _FEW)
        return weights

    def _errors(self, weights: NDArray[np.float64], rows: Bools) -> NDArray[np.float64]:
        """Errors (rows, bands) in units of the standard deviation of the bands."""
        chosen = self._rows[rows]
        found = chosen[:, CONSTANT:] @ weights[self._bands].T.astype(np.float32)
        return np.asarray((chosen[:, 1 + self._bands] - found) * self._scale)

    def _outside(self, folds: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Errors of each sample by the weights that were fitted without it."""
        errors = np.empty((len(self._rows), len(self._bands)))
        for fold, weights in enumerate(folds):
            here = self._fold == fold
            errors[here] = self._errors(weights, here)
        return errors

    def _shares(self, weights: NDArray[np.float64]) -> Floats:
        """How much of the prediction varies with each reference."""
        found = []
        for place in range(len(self._subset)):
            first = 2 + RADAR_BASIS + place * FEATURES
            features = self._rows[:, CONSTANT + first : CONSTANT + first + FEATURES]
            own = features @ weights[self._bands, first : first + FEATURES].T
            found.append(float(np.sqrt(np.square((own - own.mean(0)) * self._scale).mean())))
        shares = np.array(found, np.float32) + np.float32(1e-9)
        return np.asarray(shares / max(shares.sum(), 1e-9), np.float32)
