from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.ground.context import WHOLE
from cmcr_cli.ground.pyramid import block_mean
from cmcr_cli.model.cloud_network import (
    FAR_MARGIN,
    LOWEST_SUN,
    NEAR_MARGIN,
    SQUARE,
    CloudConfig,
    CloudNetwork,
    squares_of,
)
from cmcr_cli.removal.survey import detection, tiles
from cmcr_cli.removal.survey.detection import (
    CLOUDLESS,
    COVERED,
    RIM,
    RIM_REACH,
    SHADED,
    UNKNOWN_SUN,
    Detector,
    classified,
    detect,
    doubtful,
    sun_vector,
)
from cmcr_cli.removal.survey.first_pass import survey
from cmcr_cli.removal.survey.mask_sources import NetworkMask
from cmcr_cli.scene.bands import BANDS, L2A_BANDS, present
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN
from cmcr_cli.scene.optical import Optical, open_optical
from cmcr_cli.scene.patches import mirrored, reflected
from cmcr_cli.scene.sun import Sun
from tests.support.removals import write

Write = Callable[..., Path]
Found = tuple[NDArray[np.uint8], NDArray[np.uint8]]

pytestmark = pytest.mark.usefixtures("one_thread")  # these networks are too small for more

SUN = Sun(152.3, 30.0)
FOUR = ("B02", "B03", "B04", "B08")


@pytest.fixture(scope="module")
def network() -> CloudNetwork:
    """Random values; everything matters, each class is found, and nothing is certain."""
    generator = torch.Generator().manual_seed(3)
    network = CloudNetwork(CloudConfig((8, 8), 8))
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
        image = torch.from_numpy(pixels(256, 256) / np.float32(10_000))[None]
        logits = network(image, torch.ones(1, 13), torch.from_numpy(UNKNOWN_SUN)[None])
        head, std = network.head[-1], logits.std(dim=(0, 2, 3))
        head.weight /= std[:, None, None, None]
        head.bias.copy_((head.bias - logits.mean(dim=(0, 2, 3))) / std)
        head.bias[CLEAR] += 2.5
    return network.eval().requires_grad_(False)


def pixels(height: int, width: int, names: tuple[str, ...] = BANDS) -> NDArray[np.uint16]:
    """DN of ground and clouds of all sizes."""
    rng = np.random.default_rng(height * 1000 + width)
    out = np.zeros((len(names), height, width))
    for sigma in (0, 3, 20, 90):
        noise = rng.standard_normal((len(names), height, width), np.float32)
        if sigma:  # boxes, twice: their time does not depend on the size
            for _ in range(2):
                noise = ndimage.uniform_filter(noise, (1, 2 * sigma + 1, 2 * sigma + 1))
        out += noise / max(noise.std(), 1e-6)
    return np.clip(2500 + 900 * out, 1, 12_000).astype(np.uint16)


@pytest.fixture
def stack(tmp_path: Path) -> Write:
    def make(dn: NDArray[Any], row0: int, col0: int, names: tuple[str, ...] = BANDS, **options: Any) -> Path:
        path = tmp_path / f"{row0}_{col0}_{dn.shape[1]}.tif"
        transform = Affine(10, 0, (50_000 + col0) * 10, 0, -10, (400_000 - row0) * 10)
        write(
            path, dn, names, driver="GTiff", crs="EPSG:32631", transform=transform, height=dn.shape[1],
            width=dn.shape[2], **options,
        )  # fmt: skip
        return path

    return make


def found(network: CloudNetwork, path: Path, sun: Sun | None = SUN) -> Found:
    """What the survey finds: classes and certainty of all cells."""
    with open_optical(path, sun=sun) as optical:
        mask = NetworkMask(optical, network)
        mask.keep_certainty()
        cloud_map = survey(optical, None, mask, learn=False).cloud_map
        assert mask._certainty is not None and mask._certainty.max() <= 100
        return cloud_map.cells(0, len(mask._certainty)), mask._certainty


def at_once(network: CloudNetwork, optical: Optical) -> Found:
    """The same by the network's two looks at the whole scene at once, mirrored at its edges."""
    grid, side = optical.grid, SQUARE * 2
    starts = [start // side * side for start in grid.origin]
    sizes = [
        -(-(origin + size) // side) * side - start
        for origin, size, start in zip(grid.origin, (grid.height, grid.width), starts, strict=True)
    ]
    dn = optical.read(0, grid.height)

    def cells(margin: int) -> NDArray[np.float32]:
        lines, columns = (
            reflected(start - origin - margin, size + 2 * margin, length)
            for start, origin, size, length in zip(
                starts, grid.origin, sizes, (grid.height, grid.width), strict=True
            )
        )
        wide = dn[:, lines[:, None], columns]
        return optical.reflectance(block_mean(wide))

    squares = squares_of(torch.from_numpy(cells(0))[None])
    around = FAR_MARGIN // SQUARE
    lines, columns = (torch.from_numpy(mirrored(-around, n + 2 * around, n)) for n in squares.shape[2:])
    names = torch.from_numpy(present(optical.names).astype(np.float32))[None]
    sun = torch.from_numpy(sun_vector(optical))[None]
    far = network.look_far(squares[:, :, lines[:, None], columns], names, sun)
    inner = slice(around - NEAR_MARGIN // SQUARE, NEAR_MARGIN // SQUARE - around)
    near = torch.from_numpy(cells(NEAR_MARGIN * 2))[None]
    logits = network.look_near(near, names, far[:, :, inner, inner])
    parts = classified(torch.softmax(logits[0], dim=0).numpy())
    cut = [
        slice(NEAR_MARGIN + (o - s) // 2, NEAR_MARGIN + -(-(o + n - s) // 2))
        for o, s, n in zip(grid.origin, starts, (grid.height, grid.width), strict=True)
    ]
    return parts[0][cut[0], cut[1]], parts[1][cut[0], cut[1]]


def assert_alike(one: Found, other: Found) -> None:
    """But for what rounding makes of sums of another order."""
    assert one[0].shape == other[0].shape
    assert (one[0] != other[0]).mean() < 2e-3
    assert np.abs(one[1].astype(int) - other[1])[one[0] == other[0]].max() <= 1


SCENES = [
    (200, 180, 0, 0),
    (200, 180, 7, 13),
    (150, 131, 61, 510),
    (260, 64, -5, -1),
    (560, 20, 61, 510),  # the first tile begins far above it
    (10, 12, 7, 13),
    (12, 10, 15, 31),
    (1, 1, 0, 0),
    (1, 1, 31, 63),
    (3, 5, 7, 13),
    (16, 1, 3, 2),
    (1, 40, 8, 1),
]


@pytest.mark.parametrize(
    ("scene", "tile"),
    [
        ((400, 360, 7, 13), (256, 512)),
        ((10, 12, 7, 13), (256, 512)),
        *((scene, (32, 64)) for scene in SCENES),
    ],
)
def test_row_by_row_finds_what_the_whole_scene_shows(
    scene: tuple[int, int, int, int],
    tile: tuple[int, int],
    network: CloudNetwork,
    stack: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    height, width, row0, col0 = scene
    for module in (detection, tiles):
        monkeypatch.setattr(module, "SIDE", tile[0])
    monkeypatch.setattr(detection, "WIDE", tile[1])
    path = stack(pixels(height, width), row0, col0)
    with open_optical(path, sun=SUN) as optical:
        expected = at_once(network, optical)
    assert_alike(found(network, path), expected)
    if min(height, width) > 100:
        assert CLEAR in expected[0] and len(np.unique(expected[0])) >= 3, "or the test says little"
        assert expected[1].std() > 5


@pytest.mark.parametrize("names", [L2A_BANDS, FOUR])
def test_scenes_with_fewer_bands(names: tuple[str, ...], network: CloudNetwork, stack: Write) -> None:
    path = stack(pixels(90, 75, names), 7, 13, names)
    with open_optical(path, sun=SUN) as optical:
        assert_alike(found(network, path), at_once(network, optical))


@pytest.mark.parametrize("sun", [SUN, None, Sun(240.0, 3.0)])
def test_an_image_at_once_is_found_as_a_scene_is(
    sun: Sun | None, network: CloudNetwork, stack: Write
) -> None:
    """Away from the edges, where `detect` mirrors cells and a scene its pixels."""
    path = stack(pixels(336, 288), 16, 48)
    with open_optical(path, sun=sun) as optical:
        cells = optical.radiometry.reflectance(block_mean(optical.read(0, 336)))
        image = detect(network, cells, present(optical.names), sun_vector(optical))
    inner = slice(NEAR_MARGIN, -NEAR_MARGIN), slice(NEAR_MARGIN, -NEAR_MARGIN)
    scene = found(network, path, sun)
    assert image[0].shape == scene[0].shape == (168, 144)
    assert_alike((image[0][inner], image[1][inner]), (scene[0][inner], scene[1][inner]))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (16, 1), (8, 8), (70, 33)])
def test_images_of_any_size(size: tuple[int, int], network: CloudNetwork) -> None:
    cells = np.random.default_rng(0).random((13, *size), dtype=np.float32)
    for sun in (UNKNOWN_SUN, np.array([1, 0, -1, 5], np.float32)):
        classes, certainty = detect(network, cells, np.ones(13, bool), sun)
        assert classes.shape == certainty.shape == size
        assert classes.max() <= SHADOW and certainty.max() <= 100


def test_the_sun_counts(network: CloudNetwork, stack: Write) -> None:
    path = stack(pixels(300, 280), 7, 13)
    certainties = [found(network, path, sun)[1] for sun in (None, SUN, Sun(332.3, 30), Sun(152.3, 60))]
    for n, one in enumerate(certainties):
        for other in certainties[:n]:
            assert (one != other).mean() > 0.05


def test_a_crop_is_found_as_the_whole_is(network: CloudNetwork, stack: Write) -> None:
    """To the bit, beyond the margin from the edges of the crop; the sun stands low, so all of it counts."""
    top, left, edge, low = 40, 52, FAR_MARGIN, Sun(270, 5)
    dn = pixels(960, 950)
    whole = found(network, stack(dn, 7, 13), low)
    crop = found(network, stack(dn[:, top : top + 900, left : left + 880], 7 + top, 13 + left), low)
    inside = slice(edge, -edge), slice(edge, -edge)
    moved = slice(top // 2, top // 2 + len(crop[0])), slice(left // 2, left // 2 + crop[0].shape[1])
    for one, other in zip(crop, whole, strict=True):
        assert one[inside].shape == (35, 25)
        assert np.array_equal(one[inside], other[moved][inside])
    assert len(np.unique(crop[0][inside])) > 1
    assert not np.array_equal(crop[1], whole[1][moved]), "or there is no edge to stay away from"


def test_tiles_end_where_the_scene_ends(
    network: CloudNetwork, stack: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, choose, most = [], detection.classified, 2 * (NEAR_MARGIN + SQUARE)
    monkeypatch.setattr(detection, "classified", lambda found: (looked.append(found.shape), choose(found))[1])
    found(network, stack(pixels(90, 70), 7, 13))
    assert looked and all(rows <= 45 + most and columns <= 35 + most for _, rows, columns in looked)


def test_squares_that_no_row_of_tiles_will_need_are_forgotten(
    network: CloudNetwork, stack: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (detection, tiles):
        monkeypatch.setattr(module, "SIDE", 16)
    monkeypatch.setattr(detection, "WIDE", 16)
    held, made = [], []
    find, squares = Detector.find, detection.squares_of

    def counted(self: Detector, *args: Any) -> Any:
        result = find(self, *args)
        held.append(sorted(self._squares))
        return result

    def making(cells: Any) -> Any:
        made.append(cells.shape[2] // SQUARE)
        return squares(cells)

    monkeypatch.setattr(Detector, "find", counted)
    monkeypatch.setattr(detection, "squares_of", making)
    path = stack(pixels(2400, 24), 7, 13)
    found(network, path)
    with open_optical(path) as optical:
        top = optical.grid.origin[0] // (2 * SQUARE)
    around = FAR_MARGIN // SQUARE
    assert len(held) == 76 and held[0] == list(range(top, top + 2 + around)) and held[-1][-1] == top + 150
    assert all(rows == list(range(rows[0], rows[-1] + 1)) for rows in held)
    assert max(map(len, held)) <= 4 * around, "not the whole scene"
    assert sum(made) == 151, "each once"


# The sun


def test_the_sun_as_the_network_takes_it(stack: Write) -> None:
    path = stack(pixels(20, 20), 7, 13)

    def vector(sun: Sun | None) -> NDArray[np.float32]:
        with open_optical(path, sun=sun) as optical:
            return sun_vector(optical)

    assert np.array_equal(vector(None), UNKNOWN_SUN) and not UNKNOWN_SUN.any()
    for azimuth, towards in ((0, (-1, 0)), (90, (0, 1)), (180, (1, 0)), (225, (0.7071, -0.7071))):
        found = vector(Sun(azimuth, 45))
        assert found.dtype == np.float32 and found[0] == 1 and found[3] == pytest.approx(1)
        assert found[1:3] == pytest.approx(towards, abs=0.05), "but for the convergence of the grid"
        assert np.hypot(*found[1:3]) == pytest.approx(1)
    for elevation, slope in ((90, 0), (60, math.tan(math.radians(30))), (LOWEST_SUN, 5.671282)):
        assert vector(Sun(152, elevation))[3] == pytest.approx(slope, abs=1e-5)
    for elevation in (9.9, 3, 0.01):
        assert np.array_equal(vector(Sun(152, elevation)), vector(Sun(152, LOWEST_SUN)))


# What the probabilities mean


def likely(*classes: tuple[float, ...]) -> NDArray[np.float32]:
    """Probabilities (4, 1, n) from those of thick, thin and shadow in each cell; the rest is clear."""
    covered = np.array(classes, np.float32).T[:, None]
    return np.concatenate([1 - covered.sum(axis=0, keepdims=True), covered])


def test_a_cell_is_covered_where_that_is_likely() -> None:
    classes, certainty = classified(
        likely((0.2, 0.1, 0.05), *[(0, 0, 0)] * 4, (0.3, 0.15, 0.16), *[(0, 0, 0)] * 4, (0.1, 0.1, 0.5))
    )
    assert classes[0].tolist() == [CLEAR, *[CLEAR] * 4, THICK, *[CLEAR] * 4, SHADOW]
    # Sure of the class it is not; of what is covered, that it is.
    assert certainty[0, [0, 5, 10]].tolist() == [65, 61, 70] and certainty[0, 1] == 100
    assert classes.dtype == certainty.dtype == np.uint8


def test_shadow_needs_less_to_be_found() -> None:
    apart = [(0, 0, 0)] * 4
    row = likely((0, 0, SHADED + 0.01), *apart, (0, 0, SHADED - 0.01), *apart, (0, SHADED + 0.01, 0))
    assert classified(row)[0][0].tolist() == [SHADOW, *[CLEAR] * 10]


@pytest.mark.parametrize("kind", [THICK, THIN, SHADOW])
def test_the_likeliest_of_what_covers(kind: int) -> None:
    cell = [0.2, 0.2, 0.2]
    cell[kind - 1] = 0.3
    assert classified(likely(tuple(cell)))[0].tolist() == [[kind]]


def test_shadow_is_doubtful_the_less_likely_it_is_if_there_is_no_cloud() -> None:
    chances = (1.0, 0.95, 0.85, 0.75, 0.7, 0.6, 0.4)
    cells = likely(*[(0, 0, chance) for chance in chances], (0, CLOUDLESS, 0.5), (0.06, 0.06, 0.3), (0, 0, 0))
    classes = np.full(cells.shape[1:], SHADOW, np.uint8)
    values = doubtful(cells, classes)
    assert values.dtype == np.uint8
    row = values[0].tolist()
    assert row[:2] == [0, 0] and row[2:5] == [11, 32, 43] and row[5:] == [WHOLE, WHOLE, 0, 0, WHOLE]
    for kind in (CLEAR, THICK, THIN):
        assert not doubtful(cells, np.full_like(classes, kind)).any()


def test_rims_grow_only_beside_cloud_and_only_where_it_is_not_clear() -> None:
    just, below, sure = (RIM + 0.01, 0, 0), (RIM - 0.01, 0, 0), (0, 0.9, 0)
    row = [just] * 4 + [sure] + [just] * 5 + [below] * 3 + [sure, below, just, just]
    classes, certainty = classified(likely(*row))
    near = [
        min(abs(index - 4), abs(index - 13)) <= RIM_REACH and cell != below for index, cell in enumerate(row)
    ]
    assert classes[0].tolist() == [THIN * grown for grown in near] and sum(near) > 3
    rim = round(100 * just[0])
    found = certainty[0, :5].tolist()
    added = [rim if grown else 100 - rim for grown in near[:4]]
    assert found == [*added, 90], "what was added is not likely covered"


def test_shadows_have_no_rim() -> None:
    classes, _ = classified(likely((RIM + 0.01, 0, 0), (0, 0, 0.9), (0, 0, SHADED - 0.01)))
    assert classes[0].tolist() == [CLEAR, SHADOW, CLEAR]


def test_rims_are_the_most_opaque_neighbours_and_take_no_cell_from_them() -> None:
    third = RIM / 3 + 0.01
    rim, thick, thin, shadow = (third, third, third), (0.9, 0, 0), (0, 0.9, 0), (0, 0, 0.9)
    for one, other, middle in ((thin, thick, 1), (shadow, thick, 1), (shadow, thin, 2)):
        first, last = int(np.argmax(one)) + 1, int(np.argmax(other)) + 1
        assert classified(likely(one, rim, other))[0].tolist() == [[first, middle, last]]
        assert classified(likely(other, rim, one))[0].tolist() == [[last, middle, first]]
        assert classified(likely(one, other))[0].tolist() == [[first, last]]


def test_rims_grow_in_both_directions_but_not_around_corners() -> None:
    probability = np.zeros((4, 9, 9), np.float32)
    probability[THIN] = RIM + 0.05
    probability[THIN, 4, 4] = 0.8
    probability[CLEAR] = 1 - probability[THIN]
    classes, _ = classified(probability)
    y, x = np.mgrid[-4:5, -4:5]
    assert np.array_equal(classes == THIN, abs(y) + abs(x) <= RIM_REACH)
    probability[:, 4, 4] = (1 - COVERED, 0, COVERED, 0)
    assert not classified(probability)[0].any(), "half is not yet covered"
