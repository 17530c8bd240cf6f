"""Dates of a simulated scene: its own, and earlier ones with other seasons, fields, air, sun and clouds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from cmcr_cli.errors import OptionError
from cmcr_cli.simulate.noise import Field, key_of
from cmcr_cli.simulate.palette import Biome, SceneRecipe, draw_recipe

MOST = 24
"""Largest number of earlier dates: about one and a half years."""

_GAPS = (5, 10, 15, 25, 35)  # days between dates; the revisit time of Sentinel-2 is five days
_OVERPASS = 10.5  # hour of the local solar time
_ORIGIN = datetime(2025, 1, 1, tzinfo=UTC)
_NORTH = 110_900.0  # metres of northing per degree of latitude
_AXIS = 23.44  # degrees between the axis of the earth and the normal of its orbit
_STEEPEST, _LOWEST = np.deg2rad((8.0, 78.0))  # zenith angles of the sun


@dataclass(frozen=True, slots=True)
class Date:
    """State of ground, sun and air of a scene on one date."""

    time: datetime
    """When the image was taken, UTC."""
    days: int
    """Days before the scene; 0 is the date of the scene itself."""
    recipe: SceneRecipe
    """Values of the scene, with sun, snow and sediment of this date."""
    sky: int
    """Seed of the clouds."""
    dryness: float
    """Share of plants that look drier than in the scene; negative: greener."""
    haze: float
    """Path reflectance relative to that of the scene."""
    gain: Field
    """Factor on the reflectance of the ground per band (13,)."""

    @property
    def stamp(self) -> str:
        """The time as in the names of Sentinel-2 products, such as 20250714T103021."""
        return f"{self.time:%Y%m%dT%H%M%S}"


def scene_date(seed: int) -> Date:
    """Draw the date of a scene itself; earlier ones come from `draw_dates`.

    Args:
        seed: Of the scene.

    Returns:
        The date, a day in the season of its landscape, at 10:30 of the local solar time.
    """
    recipe = draw_recipe(seed)
    biome = recipe.biome
    rng = np.random.default_rng(key_of(seed, "date"))
    longitude = biome.epsg % 100 * 6 - 183
    day = int(rng.integers(*biome.season, endpoint=True))
    time = _ORIGIN + timedelta(days=day, hours=_OVERPASS - longitude / 15, seconds=int(rng.integers(600)))
    return Date(time, 0, recipe, seed, 0.0, 1.0, np.ones(13, np.float32))


def draw_dates(seed: int, count: int) -> list[Date]:
    """Draw the earlier dates of scene `seed`, the latest first; more dates begin with the same ones.

    Args:
        seed: Which scene.
        count: Number of dates.

    Returns:
        The dates.

    Raises:
        OptionError: `count` is out of range.
    """
    if not 0 <= count <= MOST:
        raise OptionError(f"--dates {count}: expected a number from 0 to {MOST}")
    scene, days = scene_date(seed), 0
    found = []
    for index in range(count):
        rng = np.random.default_rng(key_of(seed, f"date {index}"))
        days += int(rng.choice(_GAPS))
        found.append(_earlier(scene, days, key_of(seed, f"sky {index}"), rng))
    return found


def _earlier(scene: Date, days: int, sky: int, rng: np.random.Generator) -> Date:
    """Draw what differs on a date from the scene."""
    recipe, biome = scene.recipe, scene.recipe.biome
    time = scene.time - timedelta(days=days)
    zenith, azimuth = _sun(time, biome)
    zenith_now, azimuth_now = _sun(scene.time, biome)
    green, green_now = (_greenness(when, biome) for when in (time, scene.time))
    slope = np.linspace(-1, 1, 13) * rng.normal(0, 0.02)
    return Date(
        time=time,
        days=days,
        recipe=replace(
            recipe,
            sun_zenith=float(np.clip(recipe.sun_zenith + zenith - zenith_now, _STEEPEST, _LOWEST)),
            sun_azimuth=(recipe.sun_azimuth + azimuth - azimuth_now) % (2 * math.pi),
            snow=recipe.snow * float(np.clip(1 + rng.normal(0, 0.01 * days), 0, 1.5)),
            turbid=float(np.clip(recipe.turbid + rng.normal(0, 0.2), 0, 1)),
        ),
        sky=sky,
        dryness=biome.swing * (green_now - green),
        haze=float(np.exp(rng.normal(0, 0.15))),
        gain=np.asarray((1 + slope) * np.exp(rng.normal(0, 0.02)), np.float32),
    )


def _greenness(time: datetime, biome: Biome) -> float:
    """Greenness of plants, -1 to 1, a wave over the year."""
    return math.cos(2 * math.pi * ((time - _ORIGIN).days - biome.greenest) / 365.25)


def _sun(time: datetime, biome: Biome) -> tuple[float, float]:
    """Zenith and azimuth of the sun in radians at the overpass; clockwise from true north."""
    declination = -math.radians(_AXIS) * math.cos(2 * math.pi * ((time - _ORIGIN).days + 11) / 365.25)
    latitude = math.radians(biome.origin[1] / _NORTH)
    angle = math.radians(15 * (_OVERPASS - 12))
    east = -math.cos(declination) * math.sin(angle)
    north = math.sin(declination) * math.cos(latitude)
    north -= math.cos(declination) * math.cos(angle) * math.sin(latitude)
    up = math.sin(declination) * math.sin(latitude)
    up += math.cos(declination) * math.cos(angle) * math.cos(latitude)
    return math.acos(up), math.atan2(east, north)
