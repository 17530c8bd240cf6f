from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.files import folder_of
from cmcr_cli.removal.many_scenes import _absolute, help_each_other, jobs_of, read_scenes, run_batch
from cmcr_cli.scene.sun import Sun


@pytest.mark.parametrize(
    ("text", "scenes"),
    [
        ("a.tif", [{"s2": "a.tif"}]),
        ("a.tif,s1.tif\n\n# later\nb.tif", [{"s2": "a.tif", "s1": "s1.tif"}, {"s2": "b.tif"}]),
        ("b.tif, ,b_out.tif", [{"s2": "b.tif", "output": "b_out.tif"}]),
        ('s2,s1_vv,mask\n"a, b.tif",vv.tif,scl', [{"s2": "a, b.tif", "s1_vv": "vv.tif", "mask": "scl"}]),
        ('s2,mask_codes\na.tif,"1=thin,2=cloud"', [{"s2": "a.tif", "mask_codes": "1=thin,2=cloud"}]),
        ("\ufeffs2,output\na.tif,x.tif", [{"s2": "a.tif", "output": "x.tif"}]),  # as spreadsheets write it
        ("S2,Output\na.tif,x.tif", [{"s2": "a.tif", "output": "x.tif"}]),
    ],
)
def test_list_of_scenes(text: str, scenes: list[dict[str, str]]) -> None:
    assert read_scenes(text.splitlines(), "list") == scenes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no scenes"),
        ("s2,s1", "lists no scenes"),
        ("s2,sar\na.tif,b.tif", "columns sar"),
        ("a.tif,b.tif,c.tif,d.tif", "scene 1 is.*at most 3"),
        ("a.tif\n,b.tif", "scene 2 is"),
    ],
)
def test_lists_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_scenes(text.splitlines(), "list")


def test_outputs_are_named_by_the_scene(tmp_path: Path) -> None:
    paths = ["a/x.tif", "/vsis3/bucket/S2A_MSIL2A_X.SAFE/", "y.SAFE.zip", "item.json"]
    jobs = jobs_of([{"s2": path} for path in paths], tmp_path, {"steps": 2}, ("provenance", "quicklook"))
    assert [job.output.name for job in jobs] == [
        "x_clear.tif", "S2A_MSIL2A_X_clear.tif", "y_clear.tif", "item_clear.tif",
    ]  # fmt: skip
    assert jobs[0].provenance == tmp_path / "x_clear_provenance.tif"
    assert jobs[0].quicklook == tmp_path / "x_clear_quicklook.png"
    assert all(job.steps == 2 for job in jobs)
    with pytest.raises(OptionError, match=r"a/s2\.tif.*b/s2\.tif|b/s2\.tif and a/s2\.tif.*third column"):
        jobs_of([{"s2": "a/s2.tif"}, {"s2": "b/s2.tif"}], tmp_path, {})


def test_workers_are_told_the_sun(tmp_path: Path) -> None:
    (job,) = jobs_of([{"s2": "a.tif"}], tmp_path, {"sun": Sun(152.3, 41.0)})
    assert pickle.loads(pickle.dumps(_absolute(job))).sun == Sun(152.3, 41.0)


def test_references_of_a_scene_are_one_cell(tmp_path: Path) -> None:
    scenes = read_scenes(["s2,references", "a.tif,b.tif@2024-06-01; archive ;", "b.tif,"], "list")
    first, second = jobs_of(scenes, tmp_path, {"references": ("all.txt",)})
    assert (first.references, second.references) == (("b.tif@2024-06-01", "archive"), ("all.txt",))


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


@pytest.mark.parametrize("resume", [False, True])
def test_a_failed_scene_keeps_its_rows_only_for_resume(
    resume: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a cluster that is made up: its worker is killed, and leaves what it had built."""
    (job,) = jobs_of([{"s2": "a.tif"}], tmp_path, {"resume": resume})
    part = folder_of(job.output)

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
            lost: Future[Any] = Future()
            lost.set_exception(RuntimeError("killed worker"))
            return lost

    cluster = SimpleNamespace(Client=Client, as_completed=list)
    monkeypatch.setattr("cmcr_cli.removal.many_scenes.import_module", lambda name: cluster)
    (outcome,) = run_batch([job], scheduler="tcp://nowhere:1")
    assert outcome.status == "failed" and "killed worker" in str(outcome.error)
    assert part.exists() == resume


def test_no_scheduler_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (pip install distributed)")
    monkeypatch.setattr("cmcr_cli.removal.many_scenes.CONNECT_SECONDS", 1)
    jobs = jobs_of([{"s2": "a.tif"}], tmp_path, {})
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(InputError, match="no Dask scheduler answers"):
            list(run_batch(jobs, scheduler=address))
