from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.evaluation.mask_scores import (
    JOINED,
    NETWORK,
    OWN,
    SUNLIT,
    MaskScores,
    mask_tables,
    network_masks,
    score_masks,
    teacher_masks,
    without,
)
from cmcr_cli.evaluation.protocols import EvaluateOptions, evaluate
from cmcr_cli.evaluation.tables import Table
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.weights import Weights
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.mask_file import write_mask
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, SHADOW, THICK, THIN
from cmcr_cli.scene.sun import Sun
from cmcr_cli.simulate import simulate_window
from cmcr_cli.training.data.labels import LabelledImage
from tests.support.folds import with_fold

Make = Callable[[dict[str, dict[str, Any]]], Path]
SNOW = {"B02": 0.8, "B03": 0.8, "B04": 0.8, "B08": 0.7, "B11": 0.1}
FOREST = {"B02": 0.04, "B03": 0.06, "B04": 0.04, "B08": 0.4, "B11": 0.2}
BLUE = BANDS.index("B02")


def ground(values: dict[str, float], height: int = 4, width: int = 4) -> NDArray[np.float32]:
    image = np.full((13, height, width), 0.01, np.float32)
    for band, value in values.items():
        image[BANDS.index(band)] = value
    return image


def labelled(name: str, image: NDArray[np.float32], **known: Any) -> LabelledImage:
    blank = np.zeros(image.shape[1:], np.uint8)
    values: dict[str, Any] = {
        "source": "made", "level": "L1C", "place": name, "present": np.ones(13, bool), "network": blank,
        "covered": blank, "by_eye": None, "verdict": None,
    }  # fmt: skip
    return LabelledImage(name=name, image=image, **values | known)


def answer(masks: dict[str, Any]) -> Callable[[LabelledImage], NDArray[np.uint8]]:
    """A maker that knows its masks by heart."""
    return lambda item: np.broadcast_to(masks[item.name], item.image.shape[1:]).astype(np.uint8)


def tables_of(scores: MaskScores) -> dict[str, Table]:
    tables = mask_tables(scores, "here", "there")
    return {table.title.removeprefix("Masks, ").split(" (")[0]: table for table in tables}


def test_scenes_by_eye_by_hand() -> None:
    truth = np.array([[1, 1, 1, 1], [2, 2, 3, 3], [3, 3, 0, 0], [0, 0, 255, 255]], np.uint8)
    mask = np.array([[1, 2, 3, 0], [0, 0, 3, 1], [0, 0, 3, 0], [0, 0, 1, 3]], np.uint8)
    item = labelled("one", ground(FOREST), by_eye=truth, suns=(Sun(150.0, 30.0),))
    other = labelled("two", ground(FOREST), by_eye=np.full((4, 4), 3, np.uint8))
    scores = score_masks([item, other], answer({"one": mask, "two": 3}), answer({"one": truth, "two": 0}))
    (table,) = [table for title, table in tables_of(scores).items() if title.startswith("scenes")]
    assert table.title == "Masks, scenes labelled by eye, n=2 (there)"
    assert table.rows["one, cmcr"] == pytest.approx(
        {
            "cloud": 100 * 3 / 6,
            "thick": 75,
            "thin": 0,
            "shadow": 50,  # one of them is called cloud
            "iou": 100 * 5 / 11,
            "shadow iou": 100 * 1 / 6,  # of four in the labels, and two elsewhere that are none
            "false alarms": 25,
        }
    )
    assert table.rows["one, cmcr, sun known"]["iou"] == 100
    assert table.rows["two, cmcr, sun known"] == {"shadow": 100, "iou": 100, "shadow iou": 100}, "unknown"
    assert table.rows["two, cmcr"] == {"shadow": 100, "iou": 100, "shadow iou": 100}
    together = table.rows["all scenes, cmcr"]
    assert together["shadow"] == pytest.approx(100 * 18 / 20), "pooled over pixels, not over scenes"
    assert together["iou"] == pytest.approx(100 * 21 / 27)
    assert table.rows["all scenes, joined"]["iou"] == 0


def test_images_wholly_covered_and_the_worst() -> None:
    images = [labelled(name, ground(FOREST), verdict="thick") for name in ("one", "two")]
    images.append(labelled("small", ground(FOREST, 2, 2), verdict="thin", network=np.full((2, 2), 2)))
    masks = {"one": [[1], [2], [3], [0]], "two": 1, "small": 0}
    table = tables_of(score_masks(images, answer(masks), answer(masks)))["images wholly covered"]
    assert table.rows == {
        "wholly under thick cloud": {OWN: 87.5, SUNLIT: 87.5, NETWORK: 0, JOINED: 0, "images": 2},
        "wholly under thick cloud, worst image": {OWN: 75, SUNLIT: 75, NETWORK: 0, JOINED: 0},
        "wholly under thin cloud or cirrus": {OWN: 0, SUNLIT: 0, NETWORK: 100, JOINED: 0, "images": 1},
        "wholly under thin cloud or cirrus, worst image": {OWN: 0, SUNLIT: 0, NETWORK: 100, JOINED: 0},
    }
    assert "Worst wholly under thick cloud: one (cmcr)," in table.note


def test_false_alarms_by_ground_level_and_source() -> None:
    half = np.concatenate([ground(SNOW, 2), ground(FOREST, 2)], axis=1)
    images = [
        labelled("one", half, verdict="clear", level="L2A", source="czech"),
        labelled("two", ground(FOREST), verdict="clear"),
        labelled("cloudy", ground(FOREST)),
    ]
    masks = {"one": [[1], [3], [0], [0]], "two": [[255], [0], [0], [2]]}
    table = tables_of(score_masks(images, answer(masks), answer(masks)))["false alarms on clear images"]
    own = {row: values[OWN] for row, values in table.rows.items()}
    assert own == pytest.approx(
        {
            "all": 37.5,
            "L1C": 25,
            "L2A": 50,
            "snow": 100,
            "snow, L2A": 100,
            "vegetation": 100 * 4 / 24,
            "vegetation, L1C": 25,
            "vegetation, L2A": 0,
            "source czech": 50,
            "source made": 25,
            "worst image": 50,
        }
    )
    assert table.rows["snow"]["images"] == 1 and table.rows["all"]["Mpx"] == pytest.approx(32e-6)
    assert "Worst: one (cmcr)" in table.note


def test_what_is_lost_without_a_band() -> None:
    """A maker that finds cloud by B11, and takes all for cloud without B01."""

    def make(item: LabelledImage) -> NDArray[np.uint8]:
        found = item.image[BANDS.index("B11")] > 0.15
        found |= not item.present[BANDS.index("B01")]
        return THICK * found.astype(np.uint8)

    bare = np.ones(13, bool)
    bare[BANDS.index("B01")] = False
    images = [
        labelled("deck", ground({"B11": 0.5}), verdict="thick"),
        labelled("field", ground({"B11": 0.1}), verdict="clear"),
        labelled("other", ground({"B11": 0.1}, 40, 40), verdict="clear", present=bare),
    ]
    table = tables_of(score_masks(images, make, make))["missing bands"]
    assert table.rows["all bands"] == pytest.approx({"wholly thick": 100, "false alarms": 100 * 1600 / 1616})
    assert table.rows["without B11"] == {"wholly thick": -100, "false alarms": 0, "images": 3}
    # the image that never had B01 says nothing about its loss
    assert table.rows["without B01"] == {"wholly thick": 0, "false alarms": 100, "images": 2}
    assert table.rows["B02 B03 B04 B08 only"]["images"] == 3


def test_a_band_taken_away_is_neither_there_nor_seen() -> None:
    item = labelled("one", ground(FOREST))
    reduced = without(item, ("B11", "B12"))
    assert reduced is not None
    assert [band for band, there in zip(BANDS, reduced.present, strict=True) if not there] == ["B11", "B12"]
    assert (reduced.image[11:] == 0).all() and (reduced.image[:11] == item.image[:11]).all()
    assert item.present.all() and without(reduced, ("B11",)) is None


def test_teachers() -> None:
    network = np.array([[0, 1, 2], [3, 4, 4]], np.uint8)
    item = labelled("one", ground(FOREST, 2, 3), network=network, covered=np.array([[1, 1, 0], [1, 0, 1]]))
    masks = teacher_masks(item)
    assert masks[NETWORK].tolist() == [[0, 1, 2], [3, 0, 0]]
    assert masks[JOINED].tolist() == [[THICK, 1, 0], [3, 0, THICK]]
    assert teacher_masks(replace(item, covered=None)).keys() == {NETWORK}


class Bright(CloudNetwork):
    """Calls bright cells thick cloud and dark ones shadow."""

    def __init__(self) -> None:
        super().__init__(CloudConfig((8, 8), 8))

    def look_near(self, optical: torch.Tensor, present: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(optical), 4, *optical.shape[2:])
        bright, dark = optical[:, BLUE] > 0.5, optical[:, BLUE] < 0.03
        logits[:, THICK], logits[:, SHADOW], logits[:, CLEAR] = 20.0 * bright, 20.0 * dark, 10.0
        return logits


def test_masks_of_the_network_are_at_10_m() -> None:
    image = ground(FOREST, 7, 9)
    image[BLUE, 2:4, 2:4] = 0.01
    image[BLUE, 5, 7] = 2.5  # the last row and column form cells with their mirror images
    image[:, 0, 0] = 0
    image[BANDS.index("B10"), 0, 0] = 0.002
    mask = network_masks(lambda item: Bright(), sunlit=False)(labelled("one", image))
    expected = np.zeros((7, 9), np.uint8)
    expected[2:4, 2:4] = SHADOW
    expected[4:, 6:] = THICK
    expected[0, 0] = 255
    np.testing.assert_array_equal(mask, expected)


def test_masks_are_those_of_cmcr_mask(weights: Weights, tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = CloudNetwork(CloudConfig((8, 8), 8)).eval().requires_grad_(False)
    with torch.no_grad():
        for value in network.parameters():  # so that there is something of each class
            if value.dim() > 1:
                value.normal_(0, 1.5 / value[0].numel() ** 0.5)
    path = tmp_path / "w.safetensors"
    weights_file.save(path, replace(weights, clouds=network))
    dn = (simulate_window(4, 0, 0, 101, 75, 0.4).cloudy * 10_000).astype(np.uint16)
    with rasterio.open(
        tmp_path / "s2.tif", "w", driver="GTiff", count=13, height=dn.shape[1], width=dn.shape[2],
        dtype="uint16", crs="EPSG:32631", transform=rasterio.Affine(10, 0, 512_000, 0, -10, 5_120_000),
    ) as file:  # fmt: skip
        file.write(dn)
    item = labelled("one", (dn / 10_000).astype(np.float32), suns=(Sun(150.0, 30.0),))
    masks = []
    for sun in (None, Sun(150.0, 30.0)):
        options = RemoveOptions(
            s2=str(tmp_path / "s2.tif"), output=tmp_path / "mask.tif", weights=path, device="cpu", sun=sun,
            overwrite=True,
        )  # fmt: skip
        write_mask(options)
        with rasterio.open(tmp_path / "mask.tif") as file:
            written = file.read(1)
        made = network_masks(lambda item: network, sunlit=sun is not None)(item)
        assert len(np.unique(written)) > 1
        assert (made != written).mean() < 0.02, "apart from the rim"
        masks.append(made)
    assert (masks[0] != masks[1]).mean() > 0.03, "more than the rim"


@pytest.fixture
def data(make_labels: Make) -> Path:
    """An image of each fold that is clear, and one of the second by eye."""
    dn = (ground(FOREST, 16, 16) * 10_000).astype(np.uint16)
    clear = {"dn": dn, "verdict": "clear"}
    truth = np.full((16, 16), THIN, np.uint8)
    return make_labels(
        {
            "biomassters_288afc34_000": clear,
            "biomassters_000aa810_000": clear,
            "mamba": clear,
            "sigssl4eo_000000_000": {"dn": dn, "by_eye": truth},
        }
    )


def test_shipped_weights_saw_the_places(data: Path, weights_path: Path) -> None:
    done = []
    options = EvaluateOptions(data=data, weights=weights_path, only="masks", device="cpu")
    found = evaluate(options, lambda stage, part: done.append((stage, part)))
    titles = [table.title for table in found.tables]
    by_eye = "never trained on, but other images of their places"
    assert titles == [
        f"Masks, scenes labelled by eye, n=1 ({by_eye})",
        "Masks, false alarms on clear images (places trained on)",
        "Masks, missing bands (places trained on)",
    ]
    assert found.images == {} and found.weights.startswith("tiny") and done[-1] == ("masks", 1.0)
    assert found.tables[1].rows["all"]["images"] == 3


def test_each_image_is_seen_by_weights_that_never_saw_its_place(
    data: Path, weights: Weights, tmp_path: Path
) -> None:
    """The weights of fold 2 call everything cloud, those of fold 3 nothing."""
    paths = []
    for fold, kind in ((2, THICK), (3, CLEAR)):
        network = CloudNetwork(CloudConfig((8, 8), 8)).requires_grad_(False)
        last = [module for module in network.head.modules() if isinstance(module, torch.nn.Conv2d)][-1]
        last.weight.zero_()
        last.bias.zero_()  # type: ignore[union-attr]
        last.bias.view(4, -1)[kind] = 20.0  # type: ignore[union-attr]
        paths.append(with_fold(replace(weights, clouds=network), fold, tmp_path))
    options = EvaluateOptions(data=data, only="masks", held_out=tuple(paths), device="cpu")
    found = evaluate(options)
    where = "places held out, folds 2 and 3 only"
    assert [table.title for table in found.tables] == [
        f"Masks, scenes labelled by eye, n=1 ({where})",
        f"Masks, false alarms on clear images ({where})",
        f"Masks, missing bands ({where})",
    ]
    eye, clear, _ = found.tables
    assert eye.rows["all scenes, cmcr"]["thin"] == 100
    assert clear.rows["all"] == {OWN: 50, SUNLIT: 50, NETWORK: 0, "images": 2, "Mpx": 512e-6}
    assert "biomassters_000aa810_000 (cmcr)" in clear.note
    assert found.weights.startswith("held 2 ") and ", held 3 " in found.weights


def test_options_that_need_labels(data: Path, tmp_path: Path) -> None:
    for asked in ({"only": "masks"}, {"held_out": (tmp_path / "w",)}):
        with pytest.raises(InputError, match=r"labels/items\.json"):
            evaluate(EvaluateOptions(data=tmp_path, **asked))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="--only clouds"):
        EvaluateOptions(data=data, only="clouds", held_out=(tmp_path / "w",))
