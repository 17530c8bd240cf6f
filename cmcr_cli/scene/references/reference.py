"""Opening the references of a scene on its grid, and saying which are left out and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.addresses import public
from cmcr_cli.errors import CmcrError, OverlapError
from cmcr_cli.scene.bands import L2A_BANDS
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.layers.radiometry_check import check_radiometry
from cmcr_cli.scene.masks.mask_codes import CloudClass
from cmcr_cli.scene.masks.mask_raster import CoverRows
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.products.formats import read_product
from cmcr_cli.scene.references.choice import coarse_grid, look_at, ranked, worth
from cmcr_cli.scene.references.dates import date_of
from cmcr_cli.scene.references.listing import LeftOut, Listed, list_references, reason_of
from cmcr_cli.warning_kinds import BandWarning, RadiometryWarning, ReferenceWarning

TAKEN = re.compile(r"(S2[A-D])_MSIL(?:1C|2A)_(\d{8}T\d{6})_N\d{4}_(R\d{3})_(T\d{2}[A-Z]{3})_", re.IGNORECASE)
"""What the names of products have in common that were made of the same image, at any level and baseline."""

OF_SCENE = re.compile(r"--(bands|scale|offset)\b")
"""Options that a message may recommend, and that references do not have."""

SAME_SHARE = 0.2
"""Share of identical pixels above which two images are one: less has been reconstructed in a copy."""

SAME_BANDS = ("B02", "B03", "B04", "B08")
MOST = 4
"""References and guides that can be used at once: each set of them has a regression."""

MOST_NAMED = 5
"""References that are named one by one where many are left out."""

ALIKE = 0.00011
"""Reflectance: a step of the DN, since a copy may have another offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Another date of a scene, open on its grid; get one from `open_references`.

    Attributes:
        optical: The image, as any scene.
        date: When it was taken; None: not known.
        days: From the scene to it, negative where it is earlier; None: not known.
        mask: Path of its own mask; None: to be made like that of the scene.
        label: Name for people.
        shift: Where it was found as seen from the scene, metres to the east and north, before a large shift
            was undone; None: not measured.
        undone: Shift that was undone, in units of the CRS; zero where none was.
        doubts: What is odd about its pixels.
        guide: Whether it is no date of the scene but a guide, see `removal.opening.guide`.
    """

    optical: Optical
    date: date | None
    days: int | None
    mask: str | None
    label: str
    shift: tuple[float, float] | None = None
    undone: tuple[float, float] = (0.0, 0.0)
    doubts: tuple[RadiometryWarning, ...] = ()
    guide: bool = False

    @property
    def when(self) -> str:
        """Its date, for people."""
        if self.guide:
            return "guide"
        return "unknown date" if self.date is None else self.date.isoformat()

    @property
    def path(self) -> str:
        """The path that was opened."""
        return self.optical.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which references a user wants.

    Attributes:
        most: Number of references.
        earlier_only: Whether those that are later than the scene are left out.
        days: Most days between scene and reference; None: any number.
    """

    most: int = MOST
    earlier_only: bool = False
    days: int | None = None


@dataclass(frozen=True, slots=True)
class OpenReferences:
    """References that are open, and what was left out.

    Attributes:
        used: Open references, the most promising first.
        left_out: Those that are not used, and why.
        warnings: What there is to say about them.
    """

    used: tuple[Reference, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[ReferenceWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A product that may be used, by what is known of it without reading it whole.

    Attributes:
        listed: How it was named.
        date: When it was taken; None: not known.
        clear: Where it is clear, on the grid of the look at the scene.
    """

    listed: Listed
    date: date | None
    clear: NDArray[np.bool_]


@contextmanager
def open_references(
    entries: Sequence[str], scene: Optical, wanted: Wanted | None = None, mask: CoverRows | None = None
) -> Iterator[OpenReferences]:
    """Open the references of a scene: of many, those that promise most for what is covered.

    Args:
        entries: What `--reference` names, see `list_references`; their order does not matter.
        scene: The open scene.
        wanted: Which of them to use.
        mask: What covers the scene, on the grid of `coarse_grid`; None: by a cheap look.

    Yields:
        The references, open on the grid of the scene, the most promising first.

    Raises:
        InputError: A list, or a product that an entry names, cannot be used.
        RadiometryError: The bands or units of a product that an entry names are not known.
    """
    if not entries:
        yield OpenReferences()
        return
    wanted = wanted or Wanted()
    listed, without = list_references(entries)
    left_out, candidates = list(without), list[Candidate]()
    taken, glance = date_of(scene.tags, scene.path), coarse_grid(scene.grid)
    # Where all can be used, none has to be looked at: without overviews a look reads the whole file.
    choose = len(listed) > wanted.most
    for product in listed:
        with _leaving_out(product, left_out):
            candidates.append(_candidate(product, scene, taken, wanted, glance, choose=choose))
    used: list[Reference] = []
    with ExitStack() as stack:
        for place in _order(candidates, scene, taken, glance if choose else None, mask):
            each = candidates[place]
            if len(used) == wanted.most:
                why = f"--max-references {wanted.most}: others promise more"
                left_out.append(LeftOut(each.listed.path, why))
                continue
            with _leaving_out(each.listed, left_out), ExitStack() as own:
                optical = own.enter_context(open_optical(each.listed.path, onto=scene.grid))
                _check_pixels(optical, scene, same_day=None in (taken, each.date) or taken == each.date)
                used.append(
                    Reference(
                        optical=optical,
                        date=each.date,
                        days=None if taken is None or each.date is None else (each.date - taken).days,
                        mask=each.listed.mask,
                        label=label_of(optical),
                        doubts=check_radiometry(optical, reference=True),
                    )
                )
                stack.push(own.pop_all())
        left_out.sort(key=lambda each: (each.path, each.reason))
        warnings = tuple(map(ReferenceWarning, _oddities(used, left_out, scene)))
        yield OpenReferences(tuple(used), tuple(left_out), warnings)


def _oddities(used: Sequence[Reference], left_out: Sequence[LeftOut], scene: Optical) -> Iterator[str]:
    """List what users should know of their references, each in one text."""
    for each in used:
        optical = each.optical
        odd = []
        if any(isinstance(warning, RadiometryWarning) for warning in optical.warnings):
            odd.append(
                f"has an uncertain offset, {optical.radiometry.offset:g} is used; expected it in the item or "
                "the tags"
            )
        odd += [str(warning) for warning in optical.warnings if isinstance(warning, BandWarning)]
        odd += map(str, each.doubts)
        if optical.source.warped:
            own = Grid.from_dataset(optical.source.dataset.src_dataset)
            odd.append(f"is resampled (cubic) from {own.describe()} to the grid of the scene")
        if missing := [name for name in scene.names if name not in optical.names]:
            odd.append(f"has no {' '.join(missing)}")
        if optical.level != scene.level and len(optical.names) >= len(L2A_BANDS):
            odd.append(f"is {optical.level}, and the scene {scene.level}")
        if odd:
            yield f"reference {each.label}: {'; '.join(odd)}"
    unfit = [each for each in left_out if not each.reason.startswith("--")]
    yield from (f"reference {each.path} is left out: {each.reason}" for each in unfit[:MOST_NAMED])
    if len(unfit) > MOST_NAMED:
        yield f"{len(unfit) - MOST_NAMED} more references are left out; --json lists them with the reasons"
    if not used:
        yield "no reference is left: goes on without"


def label_of(optical: Optical) -> str:
    """Name an image for people.

    Args:
        optical: The image.

    Returns:
        Name of the product, else that of the file.
    """
    return public(optical.tags.get("PRODUCT_URI") or PurePath(optical.path.partition("?")[0]).name)


class _UnfitError(Exception):
    """Why an image that is whole does not serve as a reference."""


@contextmanager
def _leaving_out(listed: Listed, left_out: list[LeftOut]) -> Iterator[None]:
    """Leave out what is unfit, and of what the user has not named also what is damaged or unknown."""
    try:
        yield
    except (_UnfitError, OverlapError) as error:
        left_out.append(LeftOut(listed.path, reason_of(error, listed.path)))
    except CmcrError as error:
        if listed.named:
            if OF_SCENE.search(str(error)):
                raise type(error)(
                    f"{error} These options are those of the scene: a reference says it in its tags and "
                    "descriptions, as gdal_edit writes them."
                ) from error
            raise
        left_out.append(LeftOut(listed.path, reason_of(error, listed.path)))


def _candidate(
    listed: Listed, scene: Optical, taken: date | None, wanted: Wanted, glance: Grid, *, choose: bool
) -> Candidate:
    """Look at a product without reading it whole; _UnfitError where it does not serve."""
    if _same_file(listed.path, scene.path):
        raise _UnfitError("is the scene itself")
    product = read_product(listed.path)
    day = listed.date
    if product is not None:
        # Before its bands are opened, which of items of catalogues are many requests.
        day = day or date_of(product.tags, listed.path)
        _check_date(day, taken, wanted)
    with open_optical(listed.path, onto=scene.grid) as optical:
        day = day or date_of(optical.tags, listed.path)
        _check_date(day, taken, wanted)
        mine, theirs = (TAKEN.match(each.tags.get("PRODUCT_URI", "")) for each in (scene, optical))
        if mine is not None and theirs is not None and mine.groups() == theirs.groups():
            raise _UnfitError("is made of the same image as the scene")
        if not choose and optical.valid(optical.source.sample()).any():
            return Candidate(listed, day, np.ones((1, 1), np.bool_))
        look = look_at(optical, glance)
        if not look.valid.any():
            raise _UnfitError("has no valid pixel over the scene")
        return Candidate(listed, day, look.clear)


def _check_date(day: date | None, taken: date | None, wanted: Wanted) -> None:
    """Raise _UnfitError unless a day is among those that are wanted."""
    filters = ["--earlier-only"] * wanted.earlier_only
    filters += [] if wanted.days is None else [f"--reference-days {wanted.days}"]
    if not filters:
        return
    if day is None or taken is None:
        whose = "its date" if day is None else "the date of the scene"
        raise _UnfitError(f"{' '.join(filters)}: {whose} is not known")
    days = (day - taken).days
    if wanted.earlier_only and days > 0:
        raise _UnfitError(f"--earlier-only: is {days} days later than the scene")
    if wanted.days is not None and abs(days) > wanted.days:
        raise _UnfitError(f"--reference-days {wanted.days}: is {abs(days)} days away from the scene")


def _order(
    candidates: Sequence[Candidate],
    scene: Optical,
    taken: date | None,
    glance: Grid | None,
    mask: CoverRows | None,
) -> Iterator[int]:
    """Places of the candidates, the most promising first; by their dates alone without a grid to look on."""
    if glance is None:
        one = np.ones((1, 1), np.bool_)
        dated = [(each.listed.path, one, worth(taken, each.date)) for each in candidates]
        yield from ranked(one, dated)
        return
    if mask is None:
        look = look_at(scene, glance)
        covered = look.valid & ~look.clear
    else:
        covered = mask.read(0, glance.height) != CloudClass.CLEAR
    yield from ranked(
        covered, [(each.listed.path, each.clear, worth(taken, each.date)) for each in candidates]
    )


def _same_file(one: str, other: str) -> bool:
    try:
        return one == other or Path(one).samefile(other)
    except (OSError, ValueError):
        return False


def _check_pixels(optical: Optical, scene: Optical, *, same_day: bool) -> None:
    """Raise _UnfitError where a reference holds the pixels of the scene, InputError where its end is missing.

    A copy of the scene, or what was made of it, shows nothing that the scene does not. Only on its own day,
    or where that is not known, a reference may be one.
    """
    height = scene.grid.height
    optical.read(height - 1, 1)
    if not same_day:
        return
    names = [name for name in SAME_BANDS if name in optical.names and name in scene.names]
    shown = []
    for each in (scene, optical):
        dn = each.source.sample()
        pixels = each.radiometry.reflectance(dn[[each.names.index(name) for name in names]])
        shown.append((pixels, each.valid(dn)))
    (mine, seen), (theirs, valid) = shown
    both = seen & valid
    if both.any() and (np.abs(mine - theirs)[:, both] < ALIKE).all(axis=0).mean() > SAME_SHARE:
        raise _UnfitError("has the pixels of the scene: is a copy of it, or made of it")
