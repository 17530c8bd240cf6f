"""What others do with references, as baselines: copied, matched, the median, and regressions by class.

Every method takes a case and returns reflectance (13, H, W). Where no reference is clear, all of them except
the regressions by class return the mean colour of the clear pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.evaluation.series import Case, SeriesReference
from cmcr_cli.ground.pyramid import fill
from cmcr_cli.training.data.images import Array

Mask = NDArray[np.bool_]

CLASSES = 8
"""Classes of ground, as in CLEAR (Guo et al. 2026, doi:10.1109/TGRS.2026.3651961)."""

_ROUNDS = 12
_SAMPLE = 4096  # pixels from which classes are found
_QUANTILES = np.linspace(0, 1, 257)
_FEW = 100  # common pixels below which values are not matched
_PER_FEATURE = 10  # pixels of a class for each feature of its regression
_RIDGE = 1e-3


def mean_colour(case: Case) -> Array:
    """Fill with one colour.

    Args:
        case: An image and its references.

    Returns:
        Mean reflectance of the clear pixels, the same everywhere (13, H, W).
    """
    clear = case.seen[:, case.clear]
    colour = clear.mean(axis=1) if clear.size else np.zeros(len(clear), np.float32)
    return np.broadcast_to(colour[:, None, None], case.seen.shape).astype(np.float32)


def copied(case: Case) -> Array:
    """Copy the nearest reference that is clear at a pixel, as most mosaics do.

    Args:
        case: An image and its references, nearest first.

    Returns:
        Reflectance (13, H, W).
    """
    return _first(case, (reference.reflectance for reference in case.references))


def matched(case: Case) -> Array:
    """Copy as `copied` does, after the histogram of each band is matched on ground that is clear in both.

    Args:
        case: An image and its references, nearest first.

    Returns:
        Reflectance (13, H, W).
    """
    return _first(case, _matched(case))


def median(case: Case) -> Array:
    """Take the median of the references that are clear at a pixel, as median composites do.

    Args:
        case: An image and its references.

    Returns:
        Reflectance (13, H, W).
    """
    stack = np.stack([np.where(each.clear, each.reflectance, np.nan) for each in case.references])
    known = np.any([each.clear for each in case.references], axis=0)
    out = mean_colour(case)
    out[:, known] = np.nanmedian(stack[:, :, known], axis=0)
    return out


def by_class(case: Case) -> Array:
    """Predict by a regression on the references for each class of ground, and add the interpolated residual.

    Classes are found by k-means. This is the recipe of CLEAR, with normalised convolution for the residual.
    Holes of a reference are filled with the next one, matched to it.

    Args:
        case: An image and its references.

    Returns:
        Reflectance (13, H, W), not negative.
    """
    bands = np.flatnonzero(case.present)
    stack, known = _filled(case)
    features = stack.reshape(len(stack), -1).T
    classes = _k_means(_standardised(features)[known.ravel()], CLASSES)
    labels = np.full(known.size, -1)
    labels[known.ravel()] = classes
    learnt = (case.clear & known).ravel()
    truth = case.seen[bands].reshape(len(bands), -1).T
    out = mean_colour(case)
    whole = _regression(features[learnt], truth[learnt])
    predicted = out[bands].reshape(len(bands), -1).T
    for label in range(CLASSES):
        here = labels == label
        own = here & learnt
        enough = own.sum() >= _PER_FEATURE * features.shape[1]
        slopes = _regression(features[own], truth[own]) if enough else whole
        predicted[here] = _with_one(features[here]) @ slopes
    out[bands] = predicted.T.reshape(len(bands), *known.shape)
    return np.asarray(np.maximum(out + _residual(case, out), 0), np.float32)


METHODS: dict[str, Callable[[Case], Array]] = {
    "mean colour": mean_colour,
    "copied": copied,
    "histogram matched": matched,
    "median": median,
    "regression by class": by_class,
}
"""Methods by the names of their columns. A method must not look at `Case.target`."""


def _first(case: Case, images: Iterator[Array]) -> Array:
    """The first of the images of the references that is clear, pixel by pixel."""
    out = mean_colour(case)
    free = np.ones(case.valid.shape, bool)
    for reference, image in zip(case.references, images, strict=True):
        here = reference.clear & free
        out[:, here] = image[:, here]
        free &= ~here
    return out


def _matched(case: Case) -> Iterator[Array]:
    for reference in case.references:
        yield _match(reference.reflectance, reference.clear, case.seen, case.clear)


def _match(image: Array, clear: Mask, goal: Array, goal_clear: Mask) -> Array:
    """Map the values of each band so that their distribution is that of `goal` on common ground."""
    common = clear & goal_clear
    if common.sum() < _FEW:
        return image
    pairs = zip(image, goal, strict=True)
    mapped = [
        np.interp(band, np.quantile(band[common], _QUANTILES), np.quantile(other[common], _QUANTILES))
        for band, other in pairs
    ]
    return np.stack(mapped).astype(np.float32)


def _filled(case: Case) -> tuple[Array, Mask]:
    """Bands of all references without holes (features, H, W), and where any reference is clear (H, W)."""
    filled = []
    for reference in case.references:
        image, free = reference.reflectance.copy(), ~reference.clear
        for other in case.references:
            here = free & other.clear
            if here.any():
                image[:, here] = _like(other, reference)[:, here]
                free &= ~here
        filled.append(image[np.flatnonzero(reference.present)])
    return np.concatenate(filled), np.any([each.clear for each in case.references], axis=0)


def _like(other: SeriesReference, reference: SeriesReference) -> Array:
    return _match(other.reflectance, other.clear, reference.reflectance, reference.clear)


def _standardised(features: Array) -> Array:
    return np.asarray((features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6), np.float32)


def _k_means(points: Array, count: int) -> NDArray[np.intp]:
    """Classes of points (points, features): Lloyd's algorithm on a sample, the same in every run."""
    if not len(points):
        return np.zeros(0, np.intp)
    sample = points[:: max(len(points) // _SAMPLE, 1)]
    centres = sample[np.linspace(0, len(sample) - 1, count).astype(int)]
    for _ in range(_ROUNDS):
        nearest = _nearest(sample, centres)
        for label in range(count):
            if (own := nearest == label).any():
                centres[label] = sample[own].mean(axis=0)
    return _nearest(points, centres)


def _nearest(points: Array, centres: Array) -> NDArray[np.intp]:
    distance = np.square(centres).sum(axis=1) - 2 * points @ centres.T
    return np.asarray(distance.argmin(axis=1))


def _with_one(features: Array) -> NDArray[np.float64]:
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)


def _regression(features: Array, truth: Array) -> NDArray[np.float64]:
    """Coefficients (1 + features, bands) of a linear regression, slightly regularised."""
    if not len(features):
        return np.zeros((1 + features.shape[1], truth.shape[1]))
    centre, level = features.mean(axis=0, dtype=np.float64), truth.mean(axis=0, dtype=np.float64)
    departure = features - centre
    gram = departure.T @ departure
    gram += (_RIDGE * np.trace(gram) / len(gram) + 1e-9) * np.eye(len(gram))
    slopes = np.linalg.solve(gram, departure.T @ (truth - level))
    return np.concatenate([(level - centre @ slopes)[None], slopes])


def _residual(case: Case, predicted: Array) -> Array:
    """Difference of the image from a prediction, carried from clear pixels to all (13, H, W)."""
    weight = case.clear.astype(np.float32)
    sums = np.concatenate([(case.seen - predicted) * weight, weight[None]])
    return np.asarray(fill(sums.astype(np.float32), weight, 1)[:-1], np.float32)
