from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from cmcr_cli.errors import OptionError
from cmcr_cli.output.validation import validate_output
from cmcr_cli.removal import RemoveOptions, estimate, remove
from cmcr_cli.removal.estimation import Estimate
from cmcr_cli.removal.restore.steps import Restorer
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.scene.optical import open_optical


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


@pytest.fixture(scope="module")
def large(make_scene: Callable[..., Any]) -> Any:
    return make_scene(520, 480, nodata=0)


@pytest.fixture(scope="module")
def whole(large: Any, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> RemoveOptions:
    """A full run, against which parts are compared."""
    folder = tmp_path_factory.mktemp("whole")
    options = RemoveOptions(
        s2=str(large.s2), s1=str(large.s1), mask=str(large.mask), output=folder / "clear.tif",
        provenance=folder / "which.tif", uncertainty=folder / "std.tif", samples=2, steps=2,
        weights=weights, device="cpu",
    )  # fmt: skip
    remove(options)
    return options


@pytest.fixture(scope="module")
def whole_plan(whole: RemoveOptions) -> Estimate:
    return estimate(replace(whole, overwrite=True))


def _part(whole: RemoveOptions, folder: Path, **area: Any) -> RemoveOptions:
    names = {name: folder / f"{name}.tif" for name in ("output", "provenance", "uncertainty")}
    return replace(whole, **names, quicklook=folder / "look.png", **area)


def _polygon(path: Path, large: Any, rows: tuple[int, int], cols: tuple[int, int]) -> Path:
    """A triangle, the upper left half of a window of the scene, in the scene's CRS."""
    with rasterio.open(large.s2) as file:
        a, _, c, _, e, f = file.transform[:6]
        crs = file.crs.to_string()
    (top, bottom), (left, right) = rows, cols
    ring = [[c + a * x, f + e * y] for x, y in ((left, top), (right, top), (left, bottom), (left, top))]
    content = {"type": "Polygon", "coordinates": [ring], "crs": {"type": "name", "properties": {"name": crs}}}
    path.write_text(json.dumps(content))
    return path


def test_pixels_of_the_area_are_those_of_the_full_run(
    whole: RemoveOptions, large: Any, tmp_path: Path
) -> None:
    rows, cols = slice(230, 410), slice(100, 420)
    path = _polygon(tmp_path / "a.geojson", large, (230, 410), (100, 420))
    chosen = _part(whole, tmp_path, aoi=path)
    report = remove(chosen)
    inside = read(tmp_path / "provenance.tif")[0] > 0
    valid = read(whole.provenance)[0, rows, cols] > 0  # type: ignore[arg-type]
    y, x = np.mgrid[:180, :320] / [[[180]], [[320]]]
    assert inside[valid & (x + y < 0.98)].all() and not inside[~valid | (x + y > 1.02)].any()
    for mine, theirs in ((chosen.output, whole.output), (chosen.provenance, whole.provenance)):
        made, full = read(mine), read(theirs)[:, rows, cols]  # type: ignore[arg-type]
        assert made.shape == full.shape
        assert np.array_equal(made[:, inside], full[:, inside]) and (made[:, ~inside] == 0).all()
    made, full = read(tmp_path / "uncertainty.tif"), read(whole.uncertainty)[:, rows, cols]  # type: ignore[arg-type]
    assert np.array_equal(made[:, inside], full[:, inside]) and np.isnan(made[:, ~inside]).all()
    assert (full > 0).any()
    with rasterio.open(chosen.output) as part, rasterio.open(large.s2) as scene:
        assert part.bounds.left == scene.bounds.left + 1000 and part.bounds.top == scene.bounds.top - 2300
    assert (report.width, report.height) == (320, 180)
    findings = validate_output(chosen.output, large.s2, chosen.provenance)
    assert len(findings) > 8 and all(finding.ok for finding in findings), findings
    assert (tmp_path / "look.png").read_bytes().startswith(b"\x89PNG")


def test_only_the_areas_patches_are_computed(
    whole: RemoveOptions, whole_plan: Estimate, large: Any, tmp_path: Path
) -> None:
    path = _polygon(tmp_path / "a.geojson", large, (480, 500), (20, 60))
    chosen = _part(whole, tmp_path, aoi=path)
    plan = estimate(chosen)
    # those that show the area, and at two steps their neighbours, which are blended into them
    assert 0 < plan.patches_restored <= 4 < whole_plan.patches_restored
    one = replace(chosen, steps=1, samples=1, uncertainty=None)
    assert 0 < estimate(one).patches_restored <= 2
    report = remove(chosen)
    assert report.patches_restored == plan.patches_restored
    assert report.covered_share == plan.covered_share


def test_shares_are_of_the_area(
    whole: RemoveOptions, whole_plan: Estimate, large: Any, tmp_path: Path
) -> None:
    path = _polygon(tmp_path / "a.geojson", large, (230, 410), (100, 420))
    one = replace(_part(whole, tmp_path, aoi=path), steps=1, samples=1, uncertainty=None)
    report = remove(one)
    with open_optical(large.s2) as optical:
        cloud_map = CloudMap.empty(optical.grid)
    cloud_map.mark(0, read(large.mask)[0])
    covered = cloud_map.pixels(0, 520)[230:410, 100:420] > 0
    with rasterio.open(one.output) as made:
        shape = json.loads(path.read_text())
        inside = geometry_mask([shape], covered.shape, made.transform, all_touched=True, invert=True)
    valid = inside & (read(one.provenance)[0] > 0)  # type: ignore[arg-type]
    # Where the outline passes through corners of pixels, it is for rounding to say which of them it touches.
    assert report.covered_share == pytest.approx(covered[valid].mean(), abs=1e-3)
    assert report.valid_share == pytest.approx(valid.sum() / inside.sum(), abs=1e-3)
    assert abs(report.covered_share - whole_plan.covered_share) > 0.03, "else this test shows nothing"


def test_dry_run_is_of_the_area(whole: RemoveOptions, large: Any, tmp_path: Path) -> None:
    plan = estimate(_part(whole, tmp_path, aoi=_polygon(tmp_path / "a.geojson", large, (100, 140), (20, 60))))
    assert (plan.width, plan.height) == (40, 40)


def test_a_stopped_run_of_an_area_goes_on_to_the_same_bytes(
    make_scene: Callable[..., Any], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tall = make_scene(900, 100)
    for name in ("straight", "resumed"):
        (tmp_path / name).mkdir()
    options = RemoveOptions(
        s2=str(tall.s2), s1=str(tall.s1), mask=str(tall.mask), steps=2, weights=weights, device="cpu",
        aoi=_polygon(tmp_path / "a.geojson", tall, (60, 890), (10, 90)), output=tmp_path / "none.tif",
    )  # fmt: skip

    def chosen(folder: str) -> RemoveOptions:
        output, which = (tmp_path / folder / name for name in ("clear.tif", "which.tif"))
        return replace(options, output=output, provenance=which, resume=folder == "resumed")

    remove(chosen("straight"))
    advance, seen, last = Restorer.advance, [], [600]

    def stopped(self: Restorer, worker: Any, strip: Any, lefts: Any, step: int, *rest: Any) -> Any:
        if step == self.steps - 1:
            if strip.top > last[0]:
                raise KeyboardInterrupt
            seen.append(strip.top)
        return advance(self, worker, strip, lefts, step, *rest)

    monkeypatch.setattr(Restorer, "advance", stopped)
    with pytest.raises(KeyboardInterrupt):
        remove(chosen("resumed"))
    assert not (tmp_path / "resumed" / "clear.tif").exists() and min(seen) == -237
    seen.clear()
    last[0] = 900
    report = remove(chosen("resumed"))
    assert min(seen) > -237 and not any("from the beginning" in str(each) for each in report.warnings)
    names = ["clear.tif", "which.tif"]
    assert sorted(path.name for path in (tmp_path / "resumed").iterdir()) == names
    for name in names:
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


def test_an_area_that_is_asked_for_twice(whole: RemoveOptions) -> None:
    with pytest.raises(OptionError, match="--aoi and --bbox"):
        replace(whole, aoi=Path("a.geojson"), bbox=(0, 0, 1, 1))
