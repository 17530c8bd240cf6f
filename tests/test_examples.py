"""The examples, run as their first lines say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio

from cmcr_cli.simulate import SimulatedScene, simulate_scene

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SimulatedScene:
    return simulate_scene(tmp_path_factory.mktemp("scene"), size=64, seed=3, cloud_cover=0.5)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in an empty folder, with the commands of this environment on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run_example(*args: object, **variables: str) -> subprocess.CompletedProcess[str]:
        if shutil.which("cmcr", path=path) is None:
            pytest.skip("the command cmcr is not on the path of this environment")
        plain = {"PATH": path, "CMCR_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [str(arg) for arg in args], cwd=tmp_path, env=os.environ | plain | variables, check=True,
            text=True, capture_output=True, timeout=240,
        )  # fmt: skip

    return run_example


def _is_image(path: Path) -> bool:
    with rasterio.open(path) as file:
        return (file.count, file.shape) == (13, (64, 64))


def test_xargs(run: Run, scene: SimulatedScene, tmp_path: Path) -> None:
    (tmp_path / "scenes.txt").write_text(f"{scene.s2} {scene.s1} a.tif\n{scene.s2} {scene.s1} b.tif\n")
    (tmp_path / "b.tif").touch()
    ended = run(EXAMPLES / "many_scenes.sh", "scenes.txt", 2, CMCR_OPTIONS=f"--mask {scene.mask}")
    assert _is_image(tmp_path / "a.tif") and (tmp_path / "a_provenance.tif").is_file()
    assert "b.tif: exists, skipped" in ended.stderr and (tmp_path / "b.tif").stat().st_size == 0


def test_slurm_array(run: Run, scene: SimulatedScene, tmp_path: Path) -> None:
    (tmp_path / "scenes.csv").write_text(f"missing.tif,,a.tif\n{scene.s2},{scene.s1},b.tif\n")
    options = {"SLURM_ARRAY_TASK_ID": "2", "CMCR_OPTIONS": f"--mask {scene.mask}"}
    ended = run(EXAMPLES / "slurm_array.sh", "scenes.csv", "clear", **options)
    assert ended.stdout.endswith("1 done, 0 skipped, 0 failed\n")
    assert _is_image(tmp_path / "clear/b.tif")


def test_snakemake(run: Run, scene: SimulatedScene, tmp_path: Path) -> None:
    pytest.importorskip("snakemake", reason="Snakemake is not installed (pip install snakemake)")
    place = tmp_path / "scenes/x"
    place.mkdir(parents=True)
    for file in (scene.s2, scene.s1):
        shutil.copy(file, place)
    run(sys.executable, "-m", "snakemake", "-s", EXAMPLES / "Snakefile", "--cores", 1, "--resources", "gpu=1")
    assert _is_image(place / "clear.tif") and (place / "checked.json").is_file()


def test_steps(run: Run, scene: SimulatedScene, tmp_path: Path) -> None:
    ended = run(sys.executable, EXAMPLES / "steps.py", scene.s2, scene.s1, "steps")
    assert "of the window was reconstructed" in ended.stdout and "L1C, 64 x 64 px" in ended.stdout
    assert _is_image(tmp_path / "steps/steps_4.tif") and (tmp_path / "steps/steps_1.html").is_file()


def test_ndvi(run: Run, scene: SimulatedScene, tmp_path: Path) -> None:
    ended = run(sys.executable, EXAMPLES / "ndvi.py", scene.s2, scene.s1, "clear.tif")
    assert "NDVI" in ended.stdout and _is_image(tmp_path / "clear.tif")


def test_other_dates(run: Run, tmp_path: Path) -> None:
    scene = simulate_scene(tmp_path / "series", size=128, seed=3, cloud_cover=0.4, dates=1)
    dates = tmp_path / "series" / "dates"
    ended = run(sys.executable, EXAMPLES / "other_dates.py", scene.s2, scene.s1, "clear.tif", dates, scene.s2)
    assert ": not used, is the scene itself" in ended.stdout
    assert (tmp_path / "clear.tif").is_file() and (tmp_path / "clear_source.tif").is_file()
