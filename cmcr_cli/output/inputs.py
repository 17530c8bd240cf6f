"""What was understood of the inputs, before anything is computed: for people, for JSON and for tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from cmcr_cli.addresses import public
from cmcr_cli.scene.grid import Grid, crs_name, unit_name
from cmcr_cli.scene.optical import Optical
from cmcr_cli.scene.radar import Radar
from cmcr_cli.scene.references.dates import date_of
from cmcr_cli.scene.references.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class OpticalInput:
    """What was understood of a Sentinel-2 image.

    Attributes:
        path: As it was given, without secrets.
        form: SAFE, EOPF Zarr, STAC item, or stack.
        level: L1C or L2A, as the bands tell it.
        baseline: Processing baseline; None: not stated.
        date: When it was taken, YYYY-MM-DD; None: not known.
        sun: Azimuth and elevation in degrees; None: not known.
        bands: Their names, in the order of the image.
        bands_from: What tells their names.
        scale: Reflectance of one DN.
        offset: DN: reflectance = (DN + offset) x scale.
        offset_source: Where the offset comes from.
        crs: Coordinate reference system of the file.
        width: Pixels.
        height: Pixels.
        pixel_size: Width and height of a pixel in units of the CRS.
        pixel_unit: m, degrees, or units.
        dtype: Of the stored numbers.
        nodata: Stated by the file; None: 0 counts.
        valid_share: Part of the pixels that hold a measurement, 0 to 1; None: not counted.
        classification: Whether it comes with a scene classification, for `--mask scl`.
        resampled: Whether it is on another grid than the scene.
    """

    path: str
    form: str
    level: str
    baseline: str | None
    date: str | None
    sun: tuple[float, float] | None
    bands: tuple[str, ...]
    bands_from: Literal["product", "option", "names", "order"]
    scale: float
    offset: float
    offset_source: str
    crs: str
    width: int
    height: int
    pixel_size: tuple[float, float]
    pixel_unit: str
    dtype: str
    nodata: float | None
    valid_share: float | None
    classification: bool
    resampled: bool

    @classmethod
    def of(cls, optical: Optical, *, named: bool = False, valid_share: float | None = None) -> OpticalInput:
        """Tell what was understood of an open image.

        Args:
            optical: The image.
            named: Whether an option names its bands.
            valid_share: Part of its pixels that hold a measurement.

        Returns:
            What was understood.
        """
        stored = optical.original or optical
        grid, day = _own_grid(optical), date_of(optical.tags, optical.path)
        return cls(
            path=public(optical.path),
            form=optical.form,
            level=optical.level,
            baseline=optical.tags.get("PROCESSING_BASELINE"),
            date=None if day is None else day.isoformat(),
            sun=None if optical.sun is None else (optical.sun.azimuth, optical.sun.elevation),
            bands=optical.names,
            bands_from="option" if named else _bands_from(optical),
            scale=1 / stored.radiometry.quantification,
            offset=stored.radiometry.offset,
            offset_source=optical.offset_source,
            crs=crs_name(grid.crs),
            width=grid.width,
            height=grid.height,
            pixel_size=grid.pixel_size,
            pixel_unit=unit_name(grid.crs),
            dtype=str(stored.dtype),
            nodata=stored.nodata,
            valid_share=None if valid_share is None else round(valid_share, 4),
            classification=optical.scl is not None,
            resampled=optical.source.warped,
        )

    def rows(self) -> Iterable[tuple[str, str]]:
        """Say for people what it is.

        Yields:
            Pairs of a name and a value.
        """
        known = [self.form, self.level, f"baseline {self.baseline or 'not known'}", self.date or "no date"]
        yield "product", ", ".join(known)
        yield "bands", f"{' '.join(self.bands)} (by {self.bands_from})"
        yield "scale", f"{self.scale:g}, offset {self.offset:g} DN ({self.offset_source})"
        size = " x ".join(f"{each:.6g}" for each in dict.fromkeys(self.pixel_size))
        resampled = ", resampled to the grid of the scene" if self.resampled else ""
        yield "grid", f"{self.width} x {self.height} px of {size} {self.pixel_unit}, {self.crs}{resampled}"
        nodata = "nodata 0 (none stated)" if self.nodata is None else f"nodata {self.nodata:g}"
        valid = "" if self.valid_share is None else f", about {self.valid_share:.0%} valid"
        yield "pixels", f"{self.dtype}, {nodata}{valid}"
        sun = "not known" if self.sun is None else "azimuth {:.1f}, elevation {:.1f}".format(*self.sun)
        yield "sun", sun
        yield "scene classification", "yes" if self.classification else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarInput:
    """What was understood of Sentinel-1.

    Attributes:
        path: As it was given, without secrets.
        units: Of the values.
        units_from: Whether the user states them, or the values tell.
        amplitude: Whether values are the square root of power.
        covers: Part of the scene within its extent, 0 to 1.
        grid: Its own grid, for people.
        resampled: Whether that is another than the grid of the scene.
    """

    path: str
    units: str
    units_from: Literal["option", "values"]
    amplitude: bool
    covers: float
    grid: str
    resampled: bool

    @classmethod
    def of(cls, radar: Radar, scene: Grid, *, stated: bool = False) -> RadarInput:
        """Tell what was understood of open radar.

        Args:
            radar: The radar.
            scene: Grid of the scene.
            stated: Whether an option states the units.

        Returns:
            What was understood.
        """
        own = _own_grid(radar)
        return cls(
            path=public(radar.path),
            units=radar.units,
            units_from="option" if stated else "values",
            amplitude=radar.amplitude,
            covers=round(scene.overlap(own), 4),
            grid=own.describe(),
            resampled=radar.source.warped,
        )

    def rows(self) -> Iterable[tuple[str, str]]:
        """Say for people what it is.

        Yields:
            Pairs of a name and a value.
        """
        what = "amplitude" if self.amplitude else "dB" if self.units == "db" else "linear power"
        yield "units", f"{what} (by {self.units_from})"
        yield "grid", f"{self.grid}{', resampled to the grid of the scene' if self.resampled else ''}"
        yield "covers", f"{self.covers:.1%} of the scene"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What was understood of the inputs of a run.

    Attributes:
        scene: The Sentinel-2 scene.
        radar: Sentinel-1; None: no radar.
        references: The references, the most promising first.
    """

    scene: OpticalInput
    radar: RadarInput | None
    references: tuple[OpticalInput, ...] = ()

    @classmethod
    def of(
        cls,
        optical: Optical,
        radar: Radar | None,
        references: Sequence[Reference] = (),
        *,
        bands: Sequence[str] | None = None,
        units: str = "auto",
        valid_share: float | None = None,
    ) -> Inputs:
        """Tell what was understood of open inputs.

        Args:
            optical: The scene.
            radar: Its radar.
            references: Its references; guides are left out, since no band of them has a meaning.
            bands: Names of its bands, where an option states them.
            units: Of the radar, as for `--s1-units`.
            valid_share: Part of the pixels of the scene that hold a measurement.

        Returns:
            What was understood.
        """
        return cls(
            scene=OpticalInput.of(optical, named=bands is not None, valid_share=valid_share),
            radar=None if radar is None else RadarInput.of(radar, optical.grid, stated=units != "auto"),
            references=tuple(OpticalInput.of(each.optical) for each in references if not each.guide),
        )

    def blocks(self) -> Iterable[tuple[str, str, Iterable[tuple[str, str]]]]:
        """Say for people what there is.

        Yields:
            For each input its kind, its path, and pairs of a name and a value.
        """
        yield "Sentinel-2", self.scene.path, self.scene.rows()
        yield "Sentinel-1", *(("none", ()) if self.radar is None else (self.radar.path, self.radar.rows()))
        for number, each in enumerate(self.references, 1):
            yield f"reference {number}", each.path, each.rows()

    def tag(self) -> str:
        """Say in one line what was understood, for the tags of an output.

        Returns:
            A phrase.
        """
        shown = "product", "bands", "scale"
        parts = [f"{name} {text}" for name, text in self.scene.rows() if name in shown]
        radar = "none" if self.radar is None else ", ".join(text for _, text in self.radar.rows())
        return "; ".join([*parts, f"Sentinel-1 {radar}", f"references {len(self.references)}"])


def _bands_from(optical: Optical) -> Literal["product", "names", "order"]:
    if optical.form != "stack":
        return "product"
    return "order" if optical.guessed else "names"


def _own_grid(opened: Optical | Radar) -> Grid:
    """The grid of the file itself."""
    source = opened.source
    return Grid.from_dataset(source.dataset.src_dataset if source.warped else source.dataset)
