"""Simulated land cover: materials, brightness and radar roughness of every pixel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.simulate.noise import (
    Cells,
    Field,
    Keys,
    Window,
    fbm,
    hash_grid,
    key_of,
    pixel_keys,
    scramble,
    smoothstep,
    uniform,
    voronoi,
)
from cmcr_cli.simulate.palette import SceneRecipe
from cmcr_cli.simulate.seasons import Date
from cmcr_cli.simulate.terrain import Terrain, threshold

_TOWN_CELL = 230  # pixels between possible towns
_FARTHEST = -0.9  # distance outside a town, in its radii, beyond which there is no suburb
_LARGEST = 86  # radius of the largest town in pixels

_SOWN, _REST = -0.15, 1.2  # states of a field just after emergence, and at the end of its time without crop
_PACE = 1 / 180, 1 / 320  # change of state per day: the fastest and the slowest field
_RIPENING, _EMERGENCE = 20.0, 30.0  # days
_PLOUGHED = 400.0  # days within which every bare field has been ploughed
_STUBBLE = 0.45  # share of straw on a field that is not ploughed yet

_DRIER = {"grass": "ripe", "shrub": "soil", "broadleaf": "shrub"}
_GREENER = {"grass": "crop", "shrub": "grass", "broadleaf": "crop"}
_BARE = ("soil", "ripe", "sand")


@dataclass(slots=True)
class LandCover:
    """Land cover, built up layer by layer from the top. Every array has the shape of the window."""

    free: Field
    """Share of the pixel that is not covered yet."""
    brightness: Field
    """Factor on the reflectance of the ground."""
    roughness: Field
    """Backscatter relative to that of the material, in dB."""
    shares: dict[str, Field] = field(default_factory=dict)
    """Share of the pixel per material; the shares sum to 1 at the end."""

    def lay(self, material: str, share: Field) -> Field:
        """Cover a part of what is still free with a material.

        Args:
            material: One of `palette.MATERIALS`.
            share: Part of the free share of each pixel, 0 to 1 (height, width).

        Returns:
            The covered share of the whole pixel (height, width).
        """
        part = self.free * share
        self.free = self.free - part
        self.shares[material] = self.shares[material] + part if material in self.shares else part
        return part


def _unsigned(values: Field) -> Keys:
    return values.astype(np.int64).astype(np.uint64)


def _subdivide(
    regions: Keys, y: Field, x: Field, angle: Field, length: Field | np.float32, width: Field | np.float32
) -> tuple[Keys, Field]:
    """Split regions into rotated strips, and strips into parcels of varying length.

    `y`, `x` are distances in pixels from a point fixed per region. Returns a key per parcel and the distance
    to its border in pixels.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    across = (y * cos - x * sin) / width
    double = uniform(scramble(regions ^ _unsigned(np.floor(across / 2))), 1) < 0.35
    scale = np.where(double, np.float32(2), np.float32(1))
    across = across / scale
    strip = np.floor(across)
    rows = scramble(regions + _unsigned(strip) * np.uint64(5) + double.astype(np.uint64))
    stretch = 0.6 + uniform(rows, 2)
    along = (x * cos + y * sin) / length * stretch + uniform(rows, 3)
    piece = np.floor(along)
    side, end = across - strip, along - piece
    border = np.minimum(
        np.minimum(side, 1 - side) * scale * width,
        np.minimum(end, 1 - end) * length / stretch,
    )
    return scramble(rows + _unsigned(piece)), border


def _town_sites(recipe: SceneRecipe, seed: int, window: Window, y: Field, x: Field) -> tuple[Field, Keys]:
    """Depth of each pixel inside a town, in radii (below 0: outside), and the key of the town."""
    reach = window.grown(round((1 - _FARTHEST) * _LARGEST)).aligned(_TOWN_CELL)
    rows = np.arange(reach.top, reach.top + reach.height, _TOWN_CELL)
    cols = np.arange(reach.left, reach.left + reach.width, _TOWN_CELL)
    keys = hash_grid(key_of(seed, "towns"), rows[:, None], cols[None, :])
    depth = np.full(window.shape, -2.0, dtype=np.float32)
    towns = np.zeros(window.shape, dtype=np.uint64)
    for i, j in np.argwhere(uniform(keys, 0) < recipe.towns):
        own = scramble(keys[i, j : j + 1])
        size, down, right = (float(uniform(own, part)[0]) for part in range(3))
        radius = 6 + (_LARGEST - 6) * size**3
        dy, dx = y - np.float32(rows[i] + down * _TOWN_CELL), x - np.float32(cols[j] + right * _TOWN_CELL)
        inside = 1 - np.sqrt(dy * dy + dx * dx) / np.float32(radius)
        nearer = inside > np.maximum(depth, _FARTHEST)
        towns = np.where(nearer, own[0], towns)
        depth = np.where(nearer, inside, depth)
    return depth, towns


def _lay_towns(
    cover: LandCover, recipe: SceneRecipe, seed: int, window: Window, terrain: Terrain, y: Field, x: Field
) -> None:
    """Add streets, roofs of several colours and gardens; the radar shows bright double bounces."""
    depth, towns = _town_sites(recipe, seed, window, y, x)
    depth = depth + np.float32(0.35) * fbm(key_of(seed, "suburbs"), window, 36.0, 4, 0.6)
    depth = depth - terrain.ruggedness * np.float32(1.2 * recipe.relief)
    if float(depth.max()) < 0:
        return
    angle = np.float32(recipe.angle) + np.float32(1.2) * uniform(towns, 1)
    blocks, street = _subdivide(towns, y, x, angle, np.float32(24), np.float32(11))
    houses, _ = _subdivide(blocks, y, x, angle, np.float32(4.2), np.float32(2.6))
    works = uniform(blocks, 0) < 0.16
    lots = np.where(works, blocks, houses)
    colour, shade, built = (uniform(lots, part) for part in (0, 1, 2))
    town = cover.free * (depth > 0)
    streets = town * (1 - smoothstep(0.5, 1.3, street)) * np.float32(0.85)
    dense = np.where(works, np.float32(0.75), 0.35 + 0.45 * np.clip(depth, 0, 1))
    houses_here = (town - streets) * (built < dense)
    gardens = town - streets - houses_here
    cover.free = cover.free - town
    roof = np.where(works, np.where(colour < 0.2, 1, 0), np.where(colour < 0.4, 2, 0))
    parts = {
        "asphalt": streets + np.float32(0.25) * gardens,
        "roof": houses_here * (roof == 0),
        "metal": houses_here * (roof == 1),
        "tile": houses_here * (roof == 2),
        "grass": gardens * np.float32(0.45),
        recipe.biome.woods: gardens * np.float32(0.3),
    }
    for material, part in parts.items():
        cover.shares[material] = cover.shares.get(material, np.float32(0)) + part
    bright = 0.55 + 0.6 * shade + np.where(works, np.float32(0.9), np.float32(0.25)) * (shade > 0.8)
    cover.brightness = cover.brightness * (1 + houses_here * (bright - 1))
    bounce = (
        9 * uniform(scramble(lots), 0) ** 2
        - 3
        + 8 * (uniform(pixel_keys(key_of(seed, "corner"), window)) - 0.5)
    )
    cover.roughness = cover.roughness + houses_here * bounce


def _stages(recipe: SceneRecipe, state: Field, pace: Field, days: int) -> tuple[Field, Field]:
    """Shares of fields under a green and under a ripe crop, 0 to 1, `days` before the scene.

    A field goes from green to ripe to bare while its state increases by `pace` per day, and starts again. It
    ripens and emerges within weeks, and is harvested within a day.
    """
    ripens, harvest = recipe.green, recipe.green + recipe.ripe
    then = np.clip(state, _SOWN, np.float32(0.99 * _REST)) - days * pace
    cycle = np.float32(_REST - _SOWN)
    then = then - np.floor((then - np.float32(_SOWN)) / cycle) * cycle
    green, bare = then < ripens, then >= harvest
    end = np.where(green, np.float32(ripens), np.where(bare, np.float32(_REST), np.float32(harvest)))
    until = (end - then) / pace  # days until the next stage
    passed = until < days
    ripening = green * passed * (1 - smoothstep(0, _RIPENING, until))
    emerging = bare * passed * (1 - smoothstep(0, _EMERGENCE, until))
    return green - ripening + emerging, (~green & ~bare) + ripening


def _lay_fields(
    cover: LandCover, date: Date, farmed: NDArray[np.bool_], parcels: Keys, border: Field, season: Field
) -> None:
    """Add crops by season; each parcel has its own vigour, soil, moisture and calendar."""
    state, vigour, tone, wet = (uniform(parcels, part) for part in range(4))
    pace, ploughing = (uniform(scramble(parcels ^ np.uint64(1)), part) for part in range(2))
    pace = np.float32(_PACE[0]) + np.float32(_PACE[1] - _PACE[0]) * pace
    recipe = date.recipe
    state = state + np.float32(0.16) * season
    here = farmed.astype(np.float32)
    green, ripe = _stages(recipe, state, pace, date.days)
    stubble = (date.days > np.float32(_PLOUGHED) * ploughing) * (1 - green - ripe)
    margin = smoothstep(0.2, 0.9, border)
    before = cover.free
    cover.lay("crop", here * green * margin * (0.55 + 0.45 * vigour))
    cover.lay("ripe", here * ripe * margin * (0.5 + 0.5 * vigour))
    cover.lay("ripe", here * stubble * margin * np.float32(_STUBBLE))
    cover.lay("grass", here * ((vigour < 0.12) | (margin < 0.5)) * np.float32(0.8))
    cover.lay("soil", here)
    farm = before - cover.free
    cover.brightness = cover.brightness * (1 + farm * (0.62 + 0.76 * tone - 1))
    cover.roughness = cover.roughness + farm * (4.5 * wet - 2.2 + 2.0 * (1 - tone) * (state > recipe.green))


def _parcels(recipe: SceneRecipe, seed: int, y: Field, x: Field) -> tuple[Cells, Keys, Field]:
    """Tracts of land, keys of the parcels in them, and the distance to the border of a parcel in pixels."""
    tract = voronoi(key_of(seed, "tracts"), y, x, recipe.field * 5)
    size, turn, flip = (uniform(tract.keys, part) for part in (1, 2, 3))
    angle = np.float32(recipe.angle) + np.float32(0.35) * turn
    angle = np.where(flip < 0.5, angle + np.float32(np.pi / 2), angle)
    length = np.float32(recipe.field) * (np.float32(0.6) + np.float32(1.2) * size * size)
    return tract, *_subdivide(tract.keys, tract.y, tract.x, angle, length, length * np.float32(0.45))


def _lay_water(
    cover: LandCover, recipe: SceneRecipe, terrain: Terrain, parcels: Keys, pond: NDArray[np.bool_]
) -> Field:
    """Add river, lakes and ponds; returns the approximate distance from the shore in pixels."""
    shore: Field = np.minimum(terrain.river, 2.0 - 40 * terrain.lake)
    water = np.maximum(1 - smoothstep(-0.6, 0.6, shore), pond)
    sediment = np.float32(recipe.turbid) * np.where(pond, uniform(scramble(parcels), 1), np.float32(1))
    cover.lay("turbid", water * sediment)
    cover.lay("water", water)
    return shore


def _lay_wild(
    cover: LandCover, recipe: SceneRecipe, terrain: Terrain, dryness: Field, wood: Field, fine: Field
) -> None:
    """Fill the rest: bare ground where it is dry, shrubs near forest, and plants of the biome."""
    wild = cover.free
    cover.lay("soil", smoothstep(-0.7, 0.7, dryness + 0.9 * fine - 0.45 * wood - threshold(recipe.bare)))
    cover.lay("shrub", smoothstep(-0.5, 1.5, wood + 0.5 * fine) * np.float32(0.7))
    cover.lay(recipe.biome.wild, np.ones_like(wild))
    drained = np.float32(0.45) * (terrain.ridge - np.float32(1.0))
    cover.brightness = cover.brightness * (1 + wild * (np.float32(0.12) * fine - 0.1 * wood + drained))


def _pass_seasons(cover: LandCover, date: Date, parcels: Keys, wood: Field, rain: Field) -> None:
    """Let plants look drier or greener than in the scene, each field its own way, and soil wetter."""
    field = 0.4 + 0.8 * uniform(scramble(parcels ^ np.uint64(1)), 2) + np.float32(0.2) * wood
    turned = np.clip(np.float32(abs(date.dryness)) * field, 0, 1)
    shares = cover.shares
    moved = {
        plant: (other, turned * shares[plant])
        for plant, other in (_DRIER if date.dryness > 0 else _GREENER).items()
        if plant in shares
    }
    for plant, (other, part) in moved.items():
        shares[plant] = shares[plant] - part
        shares[other] = shares[other] + part if other in shares else part
    bare = sum((shares[name] for name in _BARE if name in shares), np.zeros_like(wood))
    cover.brightness = cover.brightness * (1 - np.float32(0.25) * bare * smoothstep(0.0, 1.5, rain))


def lay_cover(date: Date, seed: int, window: Window, terrain: Terrain) -> LandCover:
    """Simulate the land cover of a window.

    Args:
        date: Which date of the scene.
        seed: Seed of the scene.
        window: Which pixels.
        terrain: Terrain of the same window.

    Returns:
        Land cover whose shares sum to 1.
    """

    def noise(name: str, cell: float, octaves: int, gain: float = 0.5) -> Field:
        return fbm(key_of(seed, name), window, cell, octaves, gain)

    recipe = date.recipe
    y = np.arange(window.top, window.top + window.height, dtype=np.float32)[:, None]
    x = np.arange(window.left, window.left + window.width, dtype=np.float32)[None, :]
    warp_y, warp_x = noise("warp y", 45.0, 1) * np.float32(4), noise("warp x", 45.0, 1) * np.float32(4)
    wood, fine = noise("wood", 150.0, 7, 0.58), noise("fine", 9.0, 3, 0.8)
    steep = np.minimum(terrain.slope * np.float32(4), 1.5)
    farmed = noise("farm", 260.0, 4, 0.45) - steep > threshold(recipe.farm)
    tract, parcels, border = _parcels(recipe, seed, y + warp_y, x + warp_x)
    chance, taste = uniform(scramble(parcels), 0), uniform(scramble(parcels), 2)

    ones = np.ones(window.shape, dtype=np.float32)
    cover = LandCover(free=ones, brightness=ones, roughness=noise("moisture", 120.0, 4))
    road = voronoi(key_of(seed, "roads"), y + 3 * warp_y, x + 3 * warp_x, 240.0)
    paved = (uniform(road.edge_keys) < 0.8) & (terrain.lake < 0)
    cover.lay("asphalt", (1 - smoothstep(0.5, 1.2, road.edge)) * paved * np.float32(0.8))
    pond = farmed & (chance < 0.2 * recipe.lakes) & (border > 0.7) & (terrain.slope < 0.05)
    shore = _lay_water(cover, recipe, terrain, parcels, pond)
    _lay_towns(cover, recipe, seed, window, terrain, y, x)

    bank: Field = np.exp(-np.square(np.maximum(shore, 0) / np.float32(4)))
    lean: Field = np.where(farmed, 0.75 * wood + 1.1 * taste - 0.9, wood + 0.5 * steep) + 0.8 * bank
    forest = smoothstep(-0.06, 0.06, lean - np.float32(threshold(recipe.forest)))
    hedge = (1 - smoothstep(0.4, 1.0, tract.edge)) * (uniform(tract.edge_keys) < 0.35)
    trees = cover.lay(recipe.biome.woods, np.maximum(forest, 0.7 * hedge))
    cover.brightness = cover.brightness * (1 + trees * (np.float32(0.16) * fine + 0.1 * wood))
    track = (1 - smoothstep(0.2, 0.8, tract.edge)) * (uniform(tract.edge_keys, 1) < 0.4)
    cover.lay("sand", track * np.float32(0.45))
    _lay_fields(cover, date, farmed, parcels, border, noise("season", 110.0, 3))
    _lay_wild(cover, recipe, terrain, 0.35 * steep - bank, wood, fine)
    if date.days:
        _pass_seasons(cover, date, parcels, wood, noise(f"rain {date.days}", 200.0, 3))
    return cover
