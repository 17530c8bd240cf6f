from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cmcr_cli.evaluation.cloud_scores import (
    KINDS,
    Truth,
    all_series,
    find_mask,
    ground_kinds,
    of_check,
    of_pair,
    of_series,
    score_clouds,
)
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.scene.bands import BANDS
from cmcr_cli.scene.masks.mask_codes import CLEAR, THICK
from cmcr_cli.training.data.images import Pair
from cmcr_cli.training.samples.held_out import Check

SPECTRA = {
    "snow": {"B02": 0.8, "B03": 0.8, "B04": 0.8, "B08": 0.7, "B11": 0.1},
    "water": {"B02": 0.1, "B03": 0.07, "B04": 0.05, "B08": 0.03, "B11": 0.06},
    "vegetation": {"B02": 0.08, "B03": 0.08, "B04": 0.05, "B08": 0.4, "B11": 0.2},
    "sand and bare": {"B02": 0.15, "B03": 0.2, "B04": 0.28, "B08": 0.35, "B11": 0.45},
    "bright built": {"B02": 0.25, "B03": 0.25, "B04": 0.26, "B08": 0.28, "B11": 0.3},
    "other": {"B02": 0.1, "B03": 0.1, "B04": 0.1, "B08": 0.12, "B11": 0.12},
}
EVERY = np.ones(13, bool)


class Bright(CloudNetwork):
    """Calls a cell thick cloud when it is bright in blue."""

    def __init__(self) -> None:
        super().__init__(CloudConfig((8, 8), 8))

    def look_near(self, optical: torch.Tensor, present: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(optical), 4, *optical.shape[2:])
        bright = optical[:, 1] > 0.5
        logits[:, THICK], logits[:, CLEAR] = 20.0 * bright, 20.0 * ~bright
        return logits


def flat(kind: str, size: int = 32) -> NDArray[np.float32]:
    image = np.zeros((13, size, size), np.float32)
    for band, value in SPECTRA[kind].items():
        image[BANDS.index(band)] = value
    return image


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_ground(kind: str) -> None:
    assert (ground_kinds(flat(kind), EVERY) == KINDS.index(kind)).all()
    lacking = EVERY.copy()
    lacking[BANDS.index("B11")] = False
    assert (ground_kinds(flat(kind), lacking) == KINDS.index("other")).all()


def test_the_mask_is_in_cells() -> None:
    image = flat("other", 64)
    image[1, 32:34, 32:34] = 0.8
    classes, lifted = find_mask(Bright(), image, EVERY)
    assert classes.shape == (32, 32) and np.count_nonzero(classes) == 1 and classes[16, 16] == THICK
    assert not lifted.any(), "thick cloud is not subtracted"


def test_rates_by_hand() -> None:
    """A quarter is cloud, half of which is bright enough to be found; an eighth is bright ground."""
    image, ground = flat("other", 64), flat("other", 64)
    cells = np.zeros((32, 32), bool)
    opacity = np.zeros((32, 32), np.float32)
    covered = cells.copy()
    covered[:16, :16] = True
    opacity[:8, :16], opacity[8:16, :16] = 1.0, 0.2
    image[1, :16, :32] = 0.9
    snow = flat("snow", 64)
    image[:, 32:48, 32:], ground[:, 32:48, 32:] = snow[:, 32:48, 32:], snow[:, 32:48, 32:]
    truth = Truth(image, EVERY, covered, ~covered, opacity, np.zeros_like(opacity), ground)
    rates = score_clouds(Bright(), [truth])
    assert rates == pytest.approx(
        {
            "images": 1,
            "iou": 128 / (256 + 128),
            "covered": 0.5,
            "thick": 1.0,
            "thin": 0.0,
            "false alarms": 128 / 768,
            "on snow": 1.0,
            "cells snow": 128,
            "on other": 0.0,
            "cells other": 640,
        }
    )
    assert score_clouds(Bright(), [truth, truth])["cells snow"] == 256
    assert score_clouds(Bright(), []) == {}


def test_a_check_knows_its_shadow(check: Check) -> None:
    truth = of_check(check)
    assert truth.covered[:, :32].all() and truth.clear[:, 32:].all()
    rates = score_clouds(Bright(), [truth])
    assert (rates["thick"], rates["shadow"]) == (1, 0)
    assert (rates["thin"], rates["covered"]) == (0, 0.5), "only what is thick is bright"


def test_what_darkened_in_a_pair_is_not_called_clear() -> None:
    clear = flat("vegetation", 96)
    cloudy = clear.copy()
    cloudy[:, :32] = 0.9
    cloudy[:, 80:] *= 0.5
    opacity = np.zeros((96, 96), np.float32)
    opacity[:32], opacity[32:36] = 1.0, 0.1
    truth = of_pair(Pair(cloudy, clear, opacity, None))
    assert truth.covered[:16].all() and not truth.covered[16:].any()
    assert not truth.clear[:28].any() and truth.clear[28:40].all() and not truth.clear[40:].any()


def write_series(folder: Path, name: str, **extra: NDArray[np.generic]) -> Path:
    """Two clear dates and an overcast one of 100 x 100 px."""
    dates = np.stack([flat("vegetation", 100)] * 3)
    dates[2] = 0.9
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.npz"
    np.savez(path, s2=(dates * 10_000).astype(np.uint16), s2_present=EVERY, **extra)
    return path


def test_clear_dates_of_a_series(tmp_path: Path) -> None:
    truths = list(of_series(write_series(tmp_path / "optical", "meadow_1")))
    assert len(truths) == 2
    for truth in truths:
        assert truth.image.shape == (13, 96, 96) and truth.clear.shape == (48, 48)
        assert truth.clear.all() and not truth.covered.any()
        assert truth.image[BANDS.index("B08"), 0, 0] == pytest.approx(0.4)


def test_cloud_probability_is_the_truth_where_there_is_one(tmp_path: Path) -> None:
    probability = np.full((3, 100, 100), 5, np.uint8)
    probability[0, :20] = 30
    probability[2] = 95
    probability[2, :20] = 40
    path = write_series(tmp_path / "places", "farm_1", cloudprob=probability)
    first, second, overcast = of_series(path)
    assert not first.clear[:10].any() and first.clear[10:].all()
    assert second.clear.all() and not second.covered.any()
    assert not overcast.clear.any() and not overcast.covered[:10].any() and overcast.covered[10:].all()


def test_series_say_whether_they_were_trained_on(tmp_path: Path) -> None:
    write_series(tmp_path / "optical", "meadow_1")
    write_series(tmp_path / "places", "meadow_2")
    lacking = write_series(tmp_path / "places", "farm_1")
    with np.load(lacking) as data:
        arrays = dict(data)
    arrays["s2_present"][BANDS.index("B04")] = False  # ground that cannot be seen is not trained on
    np.savez(lacking, **arrays)
    names = {source: [path.stem for path in paths] for source, paths in all_series(tmp_path).items()}
    assert {name: sorted(stems) for name, stems in names.items()} == {
        "farm": ["farm_1"],
        "meadow (trained on)": ["meadow_1", "meadow_2"],
    }
