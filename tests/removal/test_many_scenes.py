from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.files import folder_of
from cmcr_cli.removal.many_scenes import (
    Outcome,
    _absolute,
    check_dates,
    help_each_other,
    jobs_of,
    run_batch,
)
from cmcr_cli.scene.sun import Sun


def test_outputs_are_named_by_the_scene(tmp_path: Path) -> None:
    paths = [
        "a/x.tif", "/vsis3/bucket/S2A_MSIL2A_X.SAFE/", "y.SAFE.zip", "item.json", "items.json#S2A/31 UFU_1",
        "https://host/search#B", "z.SAFE/MTD_MSIL2A.xml", "w.zarr/measurements", "https://h/u.zip?sig=secret",
        "a#b.tif",
    ]  # fmt: skip
    extras = "provenance", "quicklook", "native"
    jobs = jobs_of([{"s2": path} for path in paths], tmp_path, {"steps": 2}, extras)
    names = ["x", "S2A_MSIL2A_X", "y", "item", "S2A_31_UFU_1", "B", "z", "w", "u", "a#b"]
    assert [job.output.name for job in jobs] == [f"{name}_clear.tif" for name in names]
    assert jobs[0].provenance == tmp_path / "x_clear_provenance.tif"
    assert jobs[0].native == tmp_path / "x_clear_native"
    assert jobs[0].quicklook == tmp_path / "x_clear_quicklook.png"
    assert all(job.steps == 2 for job in jobs)
    with pytest.raises(OptionError, match=r"a/s2\.tif.*b/s2\.tif|b/s2\.tif and a/s2\.tif.*third column"):
        jobs_of([{"s2": "a/s2.tif"}, {"s2": "b/s2.tif"}], tmp_path, {})


def test_workers_are_told_the_sun(tmp_path: Path) -> None:
    (job,) = jobs_of([{"s2": "a.tif"}], tmp_path, {"sun": Sun(152.3, 41.0)})
    assert pickle.loads(pickle.dumps(_absolute(job))).sun == Sun(152.3, 41.0)


def test_references_of_a_scene_are_one_cell(tmp_path: Path) -> None:
    scenes = [{"s2": "a.tif", "references": "b.tif@2024-06-01; archive ;"}, {"s2": "b.tif"}]
    first, second = jobs_of(scenes, tmp_path, {"references": ("all.txt",)})
    assert (first.references, second.references) == (("b.tif@2024-06-01", "archive"), ("all.txt",))


def test_scenes_may_state_options_of_their_own(tmp_path: Path) -> None:
    stated = {"offset": "-1000", "bbox": "4.6,53.1,4.8,53.2", "bands": "B02,B03", "sun": "152.3,41"}
    scenes = [{"s2": "a.tif", **stated}, {"s2": "b.tif", "references": ("x;y", "z")}]
    first, second = jobs_of(scenes, tmp_path, {"offset": 0.0})
    assert (first.offset, first.bbox, first.sun) == (-1000.0, (4.6, 53.1, 4.8, 53.2), Sun(152.3, 41.0))
    assert first.bands == ("B02", "B03") and (second.offset, second.references) == (0.0, ("x;y", "z"))
    for column, value in (("offset", "much"), ("offset", "9999"), ("bbox", "1,2"), ("s1_units", "bel")):
        with pytest.raises(OptionError, match=rf"scene 2 \(b\.tif\): --{column.replace('_', '-')} "):
            jobs_of([{"s2": "a.tif"}, {"s2": "b.tif", column: value}], tmp_path, {})
    with pytest.raises(OptionError, match=r"^--samples 3 with"):  # of all scenes
        jobs_of([{"s2": "a.tif"}], tmp_path, {"samples": 3})


def test_scenes_of_a_batch_help_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those of the same ground that are near in time, are whole, and have a date."""

    def scene(name: str, left: int = 600_000) -> str:
        path = tmp_path / name
        transform = rasterio.Affine(10, 0, left, 0, -10, 5_900_040)
        with rasterio.open(
            path, "w", driver="GTiff", count=13, height=32, width=32, dtype="uint16", crs="EPSG:32631",
            transform=transform,
        ) as file:  # fmt: skip
            file.write(np.full((13, 32, 32), 1000, np.uint16))
        return str(path)

    paths = [
        scene("s2_20240601.tif"), scene("s2_20240620.tif"), scene("s2_20240801.tif"), scene("unknown.tif"),
        scene("far_20240610.tif", 700_000), scene("cut_20240605.tif"),
    ]  # fmt: skip
    Path(paths[-1]).write_bytes(Path(paths[-1]).read_bytes()[:20_000])
    jobs = jobs_of([{"s2": path} for path in paths], tmp_path, {"references": ("more",)})
    helped = {Path(job.s2).name: job.references for job in help_each_other(jobs, 45)}
    june, july, august = paths[:3]
    stated = [replace(jobs[0], references=()), replace(jobs[3], datetime="2024-06-10T10:00:00Z")]
    assert help_each_other(stated, 45)[0].references == (f"{paths[3]}@2024-06-10",), "the day that is stated"
    assert helped == {
        "s2_20240601.tif": ("more", july),
        "s2_20240620.tif": ("more", june, august),
        "s2_20240801.tif": ("more", july),
        "unknown.tif": ("more",),
        "far_20240610.tif": ("more",),
        "cut_20240605.tif": ("more",),
    }
    assert "unknown.tif: has no references" in caplog.text and "cut_20240605.tif: is not" in caplog.text
    with pytest.raises(OptionError, match="--references-from-batch -1"):
        help_each_other(jobs, -1)


def test_a_failure_does_not_stop_the_others(
    make_scene: Callable[..., Any], weights: Path, tmp_path: Path
) -> None:
    files = make_scene(64, 60)
    # The scene is covered all over: 1 everywhere may mean other things, too.
    mask = {"mask": str(files.mask), "mask_codes": "binary"}
    scene = {"s2": str(files.s2), "s1": str(files.s1), **mask}
    scenes = [
        {"s2": "missing.tif", "output": "1.tif"},
        scene | {"output": "2.tif"},
        scene | {"output": "3.tif"},
        scene | {"output": "4.tif", "mask": "missing.tif"},
    ]
    jobs = jobs_of(scenes, tmp_path, {"weights": weights, "device": "cpu"})
    before = Path(files.mask).read_bytes()  # any complete image
    (tmp_path / "3.tif").write_bytes(before)
    outcomes = list(run_batch(jobs, skip_existing=True))
    assert {Path(outcome.output).name: outcome.status for outcome in outcomes} == {
        "1.tif": "failed", "2.tif": "done", "3.tif": "skipped", "4.tif": "failed",
    }  # fmt: skip
    assert all("missing.tif" in (o.error or "") for o in outcomes if o.status == "failed")
    assert (tmp_path / "3.tif").read_bytes() == before
    with rasterio.open(tmp_path / "2.tif") as made, rasterio.open(files.s2) as given:
        assert made.shape == given.shape and not np.array_equal(made.read(), given.read())
    again = list(run_batch(jobs[1:2]))
    assert again[0].status == "failed" and "--skip-existing" in str(again[0].error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.tif", "3.tif"]


def test_resuming_skips_what_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it overwrites; what is not whole is named."""
    monkeypatch.setattr("cmcr_cli.removal.many_scenes.load_model", lambda *args: None)
    monkeypatch.setattr(
        "cmcr_cli.removal.many_scenes._one_scene", lambda job, *args: Outcome(str(job.output), "done")
    )
    monkeypatch.setattr("cmcr_cli.removal.many_scenes.unfinished", lambda job: None)
    settings = {"resume": True}
    jobs = jobs_of([{"s2": "a.tif"}], tmp_path, settings)
    jobs[0].output.touch()
    assert [outcome.status for outcome in run_batch(jobs)] == ["skipped"]
    again = jobs_of([{"s2": "a.tif"}], tmp_path, {**settings, "overwrite": True})
    assert [outcome.status for outcome in run_batch(again)] == ["done"]
    monkeypatch.setattr("cmcr_cli.removal.many_scenes.unfinished", lambda job: "half is missing")
    (outcome,) = run_batch(jobs)
    assert outcome.status == "failed" and "half is missing" in str(outcome.error)


def test_a_dry_run_plans_every_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And names what is wrong with those that cannot be done."""

    def made_up(job: RemoveOptions, progress: Callable[[str, float], None], *, model: Any) -> Any:
        progress("survey", 1.0)
        if job.s2 == "bad.tif":
            raise InputError("bad.tif: is bad")
        return SimpleNamespace(
            seconds=3.0, covered_share=0.5, cover=None, warnings=(), memory_mb=900, disk_mb=30, output_mb=20
        )

    monkeypatch.setattr("cmcr_cli.removal.many_scenes.load_model", lambda *args: None)
    monkeypatch.setattr("cmcr_cli.removal.many_scenes.estimate", made_up)
    jobs = jobs_of([{"s2": "a.tif"}, {"s2": "bad.tif"}, {"s2": "there.tif"}], tmp_path, {})
    jobs[2].output.touch()
    stages: list[str] = []
    there, planned, bad = run_batch(jobs, dry_run=True, progress=lambda stage, done: stages.append(stage))
    assert (there.status, planned.status, bad.status) == ("failed", "planned", "failed")
    assert (planned.seconds, planned.memory_mb, planned.disk_mb, planned.output_mb) == (3.0, 900, 30, 20)
    assert bad.error == "bad.tif: is bad" and "exists already" in str(there.error)
    assert stages == ["survey", "survey"] and list(tmp_path.iterdir()) == [jobs[2].output]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("made", [False, True])
def test_a_failed_scene_keeps_its_rows_only_for_resume(
    resume: bool, made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cluster that is made up: its worker is killed, and leaves what it had built.

    An empty folder for `--native` stays where the user has `made` it.
    """
    (job,) = jobs_of([{"s2": "a.tif"}], tmp_path, {"resume": resume}, ["native"])
    part, native = folder_of(job.output), job.native
    assert native is not None
    if made:
        native.mkdir()

    class Client:
        def __init__(self, address: str, timeout: float) -> None:
            pass

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def scheduler_info(self, n_workers: int) -> dict[str, Any]:
            return {"workers": {}}

        def submit(self, function: object, sent: RemoveOptions, **settings: Any) -> Future[Any]:
            assert (sent.resume, sent.overwrite, sent.output) == (resume, True, job.output)
            part.mkdir()
            native.mkdir(exist_ok=True)
            lost: Future[Any] = Future()
            lost.set_exception(RuntimeError("killed worker"))
            return lost

    cluster = SimpleNamespace(Client=Client, as_completed=list)
    monkeypatch.setattr("cmcr_cli.removal.many_scenes.import_module", lambda name: cluster)
    (outcome,) = run_batch([job], scheduler="tcp://nowhere:1")
    assert outcome.status == "failed" and "killed worker" in str(outcome.error)
    assert part.exists() == resume and native.exists() == (made or resume)


def test_no_scheduler_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (pip install distributed)")
    monkeypatch.setattr("cmcr_cli.removal.many_scenes.CONNECT_SECONDS", 1)
    jobs = jobs_of([{"s2": "a.tif"}], tmp_path, {})
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(InputError, match="no Dask scheduler answers"):
            list(run_batch(jobs, scheduler=address))


def test_scenes_without_a_date_are_refused_together(make_scene: Callable[..., Any], tmp_path: Path) -> None:
    """Where items are asked for, and no column states it; a scene that is not there fails in its turn."""
    undated, absent = str(make_scene(20, 20).s2), str(tmp_path / "absent.tif")
    named = tmp_path / "s2_20240601.tif"
    named.symlink_to(undated)
    scenes = [{"s2": undated}, {"s2": absent}, {"s2": str(named)}]
    check_dates(jobs_of(scenes, tmp_path, {}))
    with pytest.raises(InputError, match=r"states no date.*--datetime.*1 of 3 scenes lack a date"):
        check_dates(jobs_of(scenes, tmp_path, {}, ("stac",)))
    scenes[0]["datetime"] = "2024-06-01T10:20:31Z"
    jobs = jobs_of(scenes, tmp_path, {}, ("stac",))
    check_dates(jobs)
    assert jobs[0].datetime == "2024-06-01T10:20:31Z"
    with pytest.raises(OptionError, match="--datetime 'monday'"):
        jobs_of([{"s2": undated, "datetime": "monday"}], tmp_path, {})
