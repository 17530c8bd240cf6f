"""Whole runs with other dates of the same ground."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray

from cmcr_cli.ground import reference_learning
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig
from cmcr_cli.model.weights import Weights
from cmcr_cli.output.provenance import OBSERVED, RECONSTRUCTED, WITH_REFERENCE
from cmcr_cli.removal import RemoveOptions, remove
from cmcr_cli.removal.many_scenes import run_batch
from cmcr_cli.removal.restore.steps import Restorer
from cmcr_cli.removal.results.report import Report
from cmcr_cli.removal.survey.mask_sources import NetworkMask
from cmcr_cli.runtime import workers
from cmcr_cli.scene.bands import BANDS, RADAR_BANDS
from cmcr_cli.simulate import simulate_window
from cmcr_cli.simulate.clouds import CLEAR
from cmcr_cli.warning_kinds import ReferenceWarning
from tests.support.removals import write

HEIGHT, WIDTH = 421, 170
LEFT, TOP = 600_010, 5_900_030  # odd in pixels: cells of 20 m then begin before the scene
NAMES = {"output": "clear.tif", "provenance": "which.tif", "source_date": "date.tif"}


def _dn(reflectance: NDArray[Any]) -> NDArray[np.uint16]:
    return np.rint(np.clip(reflectance, 0.0001, 1.6) * 10_000).astype(np.uint16)


def _write(path: Path, pixels: NDArray[Any], names: tuple[str, ...], **changes: Any) -> None:
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, LEFT, 0, -10, TOP)}
    size = {"height": pixels.shape[1], "width": pixels.shape[2]}
    write(path, pixels, names, driver="GTiff", **(place | size | changes))


@dataclass(frozen=True)
class Series:
    """A scene, other dates of it, and what is below its clouds."""

    folder: Path
    truth: NDArray[np.uint16]
    covered: NDArray[np.bool_]

    @property
    def references(self) -> tuple[str, str]:
        return f"{self.folder / 'june.tif'}@2025-06-01", str(self.folder / "may.csv")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """June is clear and grown by a third, May has clouds of its own, which its mask tells."""
    folder = tmp_path_factory.mktemp("series")
    window = simulate_window(5, 0, 0, HEIGHT, WIDTH, 0.45)
    truth, mask = _dn(window.truth), (window.mask != CLEAR).astype(np.uint8)
    _write(folder / "s2.tif", _dn(window.cloudy), BANDS)
    _write(folder / "s1.tif", window.radar, RADAR_BANDS)
    _write(folder / "mask.tif", mask[None], ("mask",))
    june = _dn(0.75 * window.truth + 0.02)
    _write(folder / "june.tif", june, BANDS)
    none = np.zeros_like(mask)
    _write(folder / "june_mask.tif", none[None], ("mask",))
    clouds = none.copy()
    clouds[100:260, 30:130] = 1
    may = np.where(clouds > 0, np.uint16(9000), _dn(1.1 * window.truth + 0.01))
    _write(folder / "may.tif", may, BANDS)
    _write(folder / "may_mask.tif", clouds[None], ("mask",))
    (folder / "may.csv").write_text("path,date,mask\nmay.tif,2025-05-01,may_mask.tif\n")
    (folder / "june.csv").write_text("path,date,mask\njune.tif,2025-06-01,june_mask.tif\n")
    return Series(folder, truth, mask > 0)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of which the image is the context."""
    torch.manual_seed(0)
    denoiser = Denoiser(NetworkConfig(widths=(16, 32, 32), condition_blocks=(1, 1, 1)), DiffusionConfig())
    mean, std = torch.full((13,), 0.15), torch.full((13,), 0.05)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    clouds = CloudNetwork(CloudConfig((8, 8), 8))
    weights_file.save(path, Weights(denoiser, clouds, mean, std, {"name": "untrained"}))
    return path


Done = tuple[Report, dict[str, NDArray[Any]]]
Run = Callable[..., Done]


@pytest.fixture(scope="module", autouse=True)
def _few_samples() -> Iterator[None]:
    """Whole runs take much less time with a smaller sample."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_learning, "MOST_SAMPLES", 6000)
        yield


@pytest.fixture(scope="module")
def run(series: Series, untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Remove the clouds, with both references unless told otherwise, and read all rasters."""

    def go(folder: Path | None = None, **changes: Any) -> Done:
        folder = folder or tmp_path_factory.mktemp("out")
        given = {name: str(series.folder / f"{name}.tif") for name in ("s2", "s1", "mask")}
        # A mask of the scene shows no other date; these have their own.
        lists = str(series.folder / "june.csv"), str(series.folder / "may.csv")
        plain: dict[str, Any] = {"references": lists, "weights": untrained, "device": "cpu"}
        outputs = {name: folder / file for name, file in NAMES.items()}
        options = RemoveOptions(**{**given, **plain, **outputs, **changes})
        report, found = remove(options), {}
        for name, path in outputs.items():
            if getattr(options, name) is not None:
                with rasterio.open(path) as file:
                    found[name] = file.read()
        return report, found

    return go


@pytest.fixture(scope="module")
def both(run: Run) -> Done:
    return run()


@pytest.fixture(scope="module")
def alone(run: Run) -> Done:
    """Without any reference."""
    return run(references=(), source_date=None)


def _same(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in NAMES)


def _error(image: NDArray[Any], series: Series) -> float:
    """Decibels below reflectance 1 on covered pixels of the bands that show the ground."""
    bands = [band for band, name in enumerate(BANDS) if name not in ("B01", "B09", "B10")]
    difference = (image.astype(float) - series.truth)[bands][:, series.covered] / 10_000
    return float(10 * np.log10(np.square(difference).mean()))


def test_rasters_and_report_tell_where_a_reference_counts(both: Done, series: Series) -> None:
    report, found = both
    which, date = found["provenance"][0], found["source_date"][0]
    assert set(np.unique(which)) <= {OBSERVED, RECONSTRUCTED, WITH_REFERENCE}
    np.testing.assert_array_equal(which == WITH_REFERENCE, (which != OBSERVED) & (date > 0))
    with rasterio.open(series.folder / "s2.tif") as file:
        before = file.read()
    np.testing.assert_array_equal(found["output"][:, which == OBSERVED], before[:, which == OBSERVED])
    assert (which[series.covered] == WITH_REFERENCE).mean() > 0.9
    assert len(report.references) == 2 and not report.references_left_out
    made = (which != OBSERVED).sum()
    for number, reference in enumerate(report.references, 1):
        assert reference.weight == pytest.approx((date == number).sum() / made, abs=1e-3)
    assert {each.date for each in report.references} == {"2025-06-01", "2025-05-01"}
    may = next(each for each in report.references if each.date == "2025-05-01")
    assert may.clear_share == pytest.approx(1 - 160 * 100 / HEIGHT / WIDTH, abs=0.05)


def test_references_bring_the_ground_nearer(
    both: Done,
    alone: Done,
    series: Series,
) -> None:
    assert _error(both[1]["output"], series) < _error(alone[1]["output"], series) - 3


def test_the_order_in_which_they_are_given_does_not_matter(both: Done, run: Run, series: Series) -> None:
    lists = str(series.folder / "may.csv"), str(series.folder / "june.csv")
    assert _same(run(references=lists)[1], both[1])


def test_cores_and_steps_do_not_disturb_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(workers, "usable_cores", lambda cores=cores: cores)
        found.append(run(steps=2)[1])
    assert _same(*found) and (found[0]["provenance"] == WITH_REFERENCE).any()


def test_a_stopped_run_goes_on_to_the_same_pixels_and_counts(
    both: Done, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Restorer.advance

    def failing(self: Restorer, worker: Any, strip: Any, *rest: Any) -> Any:
        if strip.top > 0:
            raise KeyboardInterrupt
        return advance(self, worker, strip, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Restorer, "advance", failing)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, resume=True)
    report, found = run(tmp_path, resume=True)
    assert _same(found, both[1]) and report.references == both[0].references


def test_references_of_another_place_leave_all_as_without(
    run: Run, alone: Done, series: Series, tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).integers(200, 4000, series.truth.shape).astype(np.uint16)
    _write(tmp_path / "noise.tif", noise, BANDS)
    none = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    _write(tmp_path / "clear.tif", none, ("mask",))
    (tmp_path / "list.csv").write_text("path,date,mask\nnoise.tif,2025-05-01,clear.tif\n")
    report, found = run(references=(str(tmp_path / "list.csv"),))
    assert not report.references and len(report.references_left_out) == 1
    assert any(isinstance(each, ReferenceWarning) for each in report.warnings)
    without = alone[1]
    assert not found["source_date"].any() and np.array_equal(found["output"], without["output"])
    np.testing.assert_array_equal(found["provenance"], without["provenance"])


def test_without_any_clear_ground_the_references_give_the_colours(series: Series, run: Run) -> None:
    report, found = run(mask="all", source_date=None)
    assert {one.date for one in report.references} == {"2025-06-01", "2025-05-01"}
    _, without = run(mask="all", references=(), source_date=None)
    assert _error(found["output"], series) < _error(without["output"], series) - 3


def test_scenes_of_a_batch_are_masked_once(
    series: Series, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each as a scene; as a reference it is known."""
    looked = []
    find = NetworkMask.begin

    def begin(self: NetworkMask, *rest: Any) -> None:
        looked.append(Path(self._optical.path).name)
        find(self, *rest)

    monkeypatch.setattr(NetworkMask, "begin", begin)
    names = "s2.tif", "june.tif", "may.tif"
    paths = {name: str(series.folder / name) for name in names}
    jobs = [
        RemoveOptions(
            s2=path, output=tmp_path / name, weights=untrained,
            references=tuple(other for other in paths.values() if other != path),
        )
        for name, path in paths.items()
    ]  # fmt: skip
    assert [outcome.status for outcome in run_batch(jobs)] == ["done"] * 3
    # The first scene has both as references; of then on only the scenes themselves are looked at.
    assert looked == ["s2.tif", "june.tif", "may.tif", "june.tif", "may.tif"]
