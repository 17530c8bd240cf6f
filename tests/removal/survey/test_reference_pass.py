from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cmcr_cli.ground import reference_learning
from cmcr_cli.ground.ground import Ground
from cmcr_cli.options import RemoveOptions
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.mask_choice import KnownMasks
from cmcr_cli.removal.survey.reference_pass import ReferenceMasks, ReferenceSurvey, survey_references
from cmcr_cli.scene.bands import BANDS, present
from cmcr_cli.scene.masks.mask_codes import THICK
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.references.reference import open_references
from tests.support.removals import Plain

SIZE = 128


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_learning, "MOST_SAMPLES", 2000)


@pytest.fixture(scope="module")
def scene(make_scene: Callable[..., Any]) -> Path:
    path: Path = make_scene(SIZE, SIZE).s2
    return path


@pytest.fixture
def given(scene: Path, tmp_path: Path) -> Callable[[dict[str, tuple[NDArray[Any], int]]], Path]:
    """Writes a list of references: DN of each, and how many of its upper rows are covered."""

    def make(dates: dict[str, tuple[NDArray[Any], int]]) -> Path:
        lines = ["path,date,mask"]
        with rasterio.open(scene) as file:
            profile = file.profile
        one_band = profile | {"count": 1, "dtype": "uint8"}
        for number, (name, (dn, covered)) in enumerate(dates.items(), 1):
            with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as file:
                file.write(dn)
                file.descriptions = BANDS
            mask = np.zeros((1, SIZE, SIZE), np.uint8)
            mask[:, :covered] = 1
            with rasterio.open(tmp_path / f"{name}_mask.tif", "w", **one_band) as file:
                file.write(mask)
                file.update_tags(CMCR_VALUES="0 clear, 1 thick cloud")
            lines.append(f"{name}.tif,2025-05-{number:02},{name}_mask.tif")
        (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "list.csv"

    return make


@pytest.fixture
def surveyed(scene: Path, tmp_path: Path) -> Iterator[Callable[[Path], tuple[ReferenceSurvey, list[float]]]]:
    """Surveys the references of a list; a cloud hides the middle of the scene."""
    with ExitStack() as stack:

        def go(listed: Path) -> tuple[ReferenceSurvey, list[float]]:
            optical = stack.enter_context(open_optical(scene))
            found = stack.enter_context(open_references([str(listed)], optical))
            classes = np.zeros((SIZE, SIZE), np.uint8)
            classes[40:90, 40:90] = THICK
            cloud_map = CloudMap.empty(optical.grid)
            cloud_map.mark(0, classes)
            options = RemoveOptions(s2=str(scene), output=tmp_path / "o.tif", references=(str(listed),))
            ground, done = Ground.unknown(present(optical.names)), list[float]()
            survey = survey_references(
                optical,
                None,
                cloud_map,
                ground,
                found.used,
                ReferenceMasks(options, Plain(), KnownMasks()),
                progress=done.append,
            )
            return survey, done

        yield go


def test_those_that_tell_nothing_are_left_out_with_a_reason(given: Any, surveyed: Any, scene: Path) -> None:
    with rasterio.open(scene) as file:
        dn = file.read()
    rng = np.random.default_rng(1)
    noise = rng.integers(200, 4000, dn.shape).astype(np.uint16)
    same = (0.8 * dn + rng.integers(0, 20, dn.shape) + 200).astype(np.uint16)
    dates = {"same": (same, SIZE // 2), "clouds": (noise[::-1], SIZE), "noise": (noise, 0)}
    survey, done = surveyed(given(dates))
    (used,) = survey.used
    reasons = dict(survey.unfit)
    assert len(reasons) == 2 and used.index not in reasons
    assert sum("only 0.0 % of the scene is clear" in why for why in reasons.values()) == 1
    assert sum("does it show the same place?" in why for why in reasons.values()) == 1
    assert used.clear_share == pytest.approx(0.5, abs=0.03) and used.error < 1
    assert survey.fitted is not None and (0,) in survey.fitted.readouts
    assert used.cloud_map.pixels(0, SIZE)[: SIZE // 2].all() and not used.cloud_map.pixels(100, 20).any()
    assert min(done) >= 0 and 0.8 < done[-1] == max(done) <= 1


def test_without_any_that_helps_nothing_is_fitted(given: Any, surveyed: Any) -> None:
    noise = np.random.default_rng(1).integers(200, 4000, (13, SIZE, SIZE)).astype(np.uint16)
    survey, _ = surveyed(given({"clouds": (noise, SIZE)}))
    assert survey.used == () and survey.fitted is None and len(survey.unfit) == 1
