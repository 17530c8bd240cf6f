"""Materials of the simulated ground, and the values that a seed draws: season, sun, relief, field sizes.

Reflectances are rounded, typical values of Level-1C scenes. Backscatter is typical of C-band GRD at 39
degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmcr_cli.simulate.noise import Field, key_of

PATH = np.array(
    [0.105, 0.071, 0.040, 0.023, 0.020, 0.016, 0.013, 0.012, 0.008, 0.003, 0.001, 0.001, 0.001], np.float32
)
"""Path reflectance of a clean atmosphere per band (13,), as seen over black ground."""

TRANSMITTANCE = np.array(
    [0.72, 0.80, 0.86, 0.90, 0.91, 0.93, 0.94, 0.93, 0.96, 0.32, 0.002, 0.95, 0.93], np.float32
)

# Surface reflectance in B01 .. B12, then VV and VH in dB.
_MATERIALS: dict[str, tuple[list[float], float, float]] = {
    "crop": ([0.02, 0.03, 0.07, 0.04, 0.10, 0.30, 0.39, 0.40, 0.43, 0.43, 0.43, 0.20, 0.095], -10.5, -16.0),
    "ripe": ([0.06, 0.09, 0.14, 0.18, 0.22, 0.26, 0.29, 0.30, 0.33, 0.34, 0.33, 0.34, 0.22], -11.5, -18.0),
    "soil": ([0.05, 0.07, 0.10, 0.14, 0.16, 0.18, 0.20, 0.21, 0.23, 0.24, 0.23, 0.30, 0.25], -12.0, -20.5),
    "grass": ([0.02, 0.035, 0.07, 0.055, 0.11, 0.24, 0.29, 0.30, 0.32, 0.33, 0.32, 0.22, 0.12], -11.0, -17.5),
    "shrub": ([0.02, 0.03, 0.05, 0.05, 0.09, 0.16, 0.19, 0.19, 0.21, 0.22, 0.21, 0.18, 0.11], -10.0, -16.0),
    "broadleaf": (
        [0.01, 0.018, 0.042, 0.022, 0.07, 0.22, 0.29, 0.29, 0.32, 0.32, 0.32, 0.14, 0.06],
        -8.2,
        -14.0,
    ),
    "conifer": (
        [0.008, 0.014, 0.028, 0.017, 0.04, 0.12, 0.15, 0.15, 0.17, 0.17, 0.17, 0.08, 0.035],
        -8.8,
        -14.8,
    ),
    "water": (
        [0.015, 0.018, 0.017, 0.010, 0.008, 0.006, 0.005, 0.004, 0.003, 0.003, 0.003, 0.002, 0.001],
        -20.0,
        -27.5,
    ),
    "turbid": (
        [0.04, 0.06, 0.10, 0.08, 0.07, 0.04, 0.04, 0.03, 0.025, 0.02, 0.02, 0.006, 0.004],
        -19.5,
        -27.0,
    ),
    "sand": ([0.12, 0.16, 0.24, 0.31, 0.33, 0.35, 0.37, 0.38, 0.40, 0.41, 0.40, 0.46, 0.41], -15.0, -23.5),
    "asphalt": ([0.06, 0.08, 0.10, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.16, 0.17, 0.15], -13.0, -21.0),
    "roof": ([0.11, 0.15, 0.17, 0.19, 0.20, 0.21, 0.22, 0.23, 0.24, 0.24, 0.23, 0.25, 0.23], -3.5, -11.0),
    "tile": ([0.05, 0.06, 0.08, 0.15, 0.17, 0.18, 0.19, 0.20, 0.21, 0.21, 0.21, 0.23, 0.19], -4.0, -11.5),
    "metal": ([0.16, 0.24, 0.20, 0.14, 0.15, 0.17, 0.19, 0.20, 0.21, 0.22, 0.21, 0.24, 0.22], -1.5, -9.5),
    "snow": ([0.80, 0.84, 0.84, 0.83, 0.81, 0.79, 0.77, 0.76, 0.73, 0.70, 0.65, 0.10, 0.09], -14.0, -20.0),
}

MATERIALS = tuple(_MATERIALS)
"""Names of the ground materials."""

GROUND = {name: np.array(row[0], np.float32) * TRANSMITTANCE for name, row in _MATERIALS.items()}
"""Reflectance per material (13,) as seen through the atmosphere, without path reflectance."""

BACKSCATTER = {name: 10 ** (np.array(row[1:], np.float32) / 10) for name, row in _MATERIALS.items()}
"""Linear backscatter VV, VH per material (2,)."""


@dataclass(frozen=True, slots=True)
class Biome:
    """Land shares, states of crops, and map position of a kind of landscape. The seed draws from the ranges.

    Attributes:
        woods: Material of the forest.
        wild: Material of ground that is neither forest, field nor town.
        forest: Range of the share of forest, 0 to 1.
        farm: Range of the share of fields.
        green: Range of the share of fields under a green crop.
        ripe: Range of the share of fields under a ripe crop.
        bare: Range of the share of bare soil in wild ground.
        snow: Range of the share of snow.
        sun_zenith: Range of the sun's angle from the vertical, degrees.
        field: Range of the length of a field, pixels.
        epsg: Code of the UTM zone.
        origin: Easting and northing of the upper left corner, metres.
        season: First and last day on which a scene may be, counted from January 1.
        greenest: Day on which plants are greenest.
        swing: Half of the share of plants that look different half a year later.
    """

    woods: str
    wild: str
    forest: tuple[float, float]
    farm: tuple[float, float]
    green: tuple[float, float]
    ripe: tuple[float, float]
    bare: tuple[float, float]
    snow: tuple[float, float]
    sun_zenith: tuple[float, float]
    field: tuple[float, float]
    epsg: int
    origin: tuple[float, float]
    season: tuple[int, int]
    greenest: int
    swing: float


BIOMES = {
    "temperate": Biome(
        "broadleaf", "grass",
        (0.15, 0.4), (0.5, 0.85), (0.3, 0.75), (0.1, 0.4), (0.0, 0.2), (0.0, 0.0), (26.0, 48.0),
        (10.0, 26.0), 32632, (499_980.0, 5_400_000.0), (150, 265), 165, 0.3,
    ),
    "dry": Biome(
        "shrub", "soil",
        (0.03, 0.15), (0.2, 0.7), (0.1, 0.4), (0.2, 0.4), (0.5, 0.9), (0.0, 0.0), (20.0, 42.0),
        (10.0, 24.0), 32637, (399_960.0, 3_600_000.0), (75, 300), 80, 0.3,
    ),
    "tropical": Biome(
        "broadleaf", "shrub",
        (0.3, 0.6), (0.25, 0.7), (0.35, 0.7), (0.05, 0.25), (0.05, 0.35), (0.0, 0.0),
        (18.0, 36.0), (7.0, 16.0), 32648, (300_000.0, 1_700_040.0), (30, 330), 270, 0.15,
    ),
    "winter": Biome(
        "conifer", "ripe",
        (0.25, 0.5), (0.3, 0.7), (0.1, 0.4), (0.1, 0.3), (0.1, 0.4), (0.0, 0.6), (54.0, 68.0),
        (10.0, 24.0), 32635, (399_960.0, 6_700_020.0), (40, 90), 190, 0.1,
    ),
}  # fmt: skip
"""Kinds of landscape that a seed may draw."""


@dataclass(frozen=True, slots=True)
class SceneRecipe:
    """Values drawn for a whole scene. Shares are 0 to 1, lengths in pixels, angles in radians.

    Attributes:
        biome: Kind of landscape.
        sun_zenith: Angle of the sun from the vertical.
        sun_azimuth: Direction of the sun.
        relief: Strength of the relief: 0 flat, 1 mountains.
        forest: Share of forest.
        farm: Share of fields.
        green: Share of fields under a green crop.
        ripe: Share of fields under a ripe crop.
        bare: Share of bare soil in wild ground.
        snow: Share of snow.
        field: Length of a field.
        angle: Main direction of fields and streets.
        river: Half of the width of the main river.
        lakes: Share of lakes.
        towns: Share of towns.
        turbid: Share of sediment in the river's water.
        tint: Factor per band (13,) on soil, sand and dry plants.
    """

    biome: Biome
    sun_zenith: float
    sun_azimuth: float
    relief: float
    forest: float
    farm: float
    green: float
    ripe: float
    bare: float
    snow: float
    field: float
    angle: float
    river: float
    lakes: float
    towns: float
    turbid: float
    tint: Field


def draw_recipe(seed: int) -> SceneRecipe:
    """Draw what holds for a whole scene: landscape, season, sun, relief, fields and water.

    Args:
        seed: Of the scene.

    Returns:
        The values; the same for the same seed.
    """
    rng = np.random.default_rng(key_of(seed, "recipe"))
    biome = BIOMES[str(rng.choice(list(BIOMES), p=[0.4, 0.22, 0.25, 0.13]))]
    relief = float(rng.choice([0.08, 0.3, 0.85], p=[0.45, 0.35, 0.2]) * rng.uniform(0.6, 1.2))
    redness = rng.uniform(-1, 1)
    slope = np.array([-0.9, -0.8, -0.35, 0.25, 0.25, 0.2, 0.15, 0.15, 0.1, 0.1, 0.0, 0.05, 0.0])
    return SceneRecipe(
        biome=biome,
        sun_zenith=float(np.deg2rad(rng.uniform(*biome.sun_zenith))),
        sun_azimuth=float(np.deg2rad(rng.uniform(120, 175))),
        relief=relief,
        forest=float(rng.uniform(*biome.forest)),
        # There is less farming in the mountains.
        farm=float(rng.uniform(*biome.farm)) * (0.35 if relief > 0.5 else 1.0),
        green=float(rng.uniform(*biome.green)),
        ripe=float(rng.uniform(*biome.ripe)),
        bare=float(rng.uniform(*biome.bare)),
        snow=float(max(0.0, rng.uniform(*biome.snow) - 0.2 * (biome.snow[1] > 0))),
        field=float(rng.uniform(*biome.field)),
        angle=float(rng.uniform(0, np.pi)),
        river=float(np.exp(rng.uniform(np.log(1.0), np.log(8.0)))),
        lakes=float(rng.uniform(0.0, 0.05)) * (0.2 if biome.woods == "shrub" else 1.0),
        towns=float(rng.uniform(0.2, 0.8)),
        turbid=float(rng.uniform(0, 1)),
        tint=np.asarray(np.exp(0.22 * redness * slope) * rng.uniform(0.8, 1.25), dtype=np.float32),
    )
