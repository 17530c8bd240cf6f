"""The notebooks in examples/: their cells run in order, and no results are stored in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import cmcr_cli
from cmcr_cli import load_model
from tests.support.removals import Plain, weights

__all__ = ["weights"]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SIZE = "SIZE = 512"


def cells(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]
    return found


@pytest.fixture
def run(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the cells of a notebook on a small scene and with small networks, and returns its names."""
    monkeypatch.chdir(tmp_path)
    model = load_model(weights, "cpu")
    model = replace(model, weights=replace(model.weights, clouds=Plain().eval()))
    monkeypatch.setattr(cmcr_cli, "load_model", lambda: model, raising=False)

    def run_notebook(name: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        sources = ["".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code"]
        assert SIZE in sources[0]
        for source in sources:
            exec(compile(source.replace(SIZE, "SIZE = 64"), name, "exec"), names)
        return names

    return run_notebook


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_no_results_are_stored(path: Path) -> None:
    for cell in cells(path.name):
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


def test_first_steps(run: Any) -> None:
    names = run("first_steps.ipynb")
    assert names["report"].patches_restored and Path("first_steps/quicklook.png").is_file()
    assert 0 < names["observed"].mean() < 1 and np.isfinite(names["error"])


def test_arrays(run: Any) -> None:
    names = run("arrays.ipynb")
    assert bool(names["unchanged"].where(names["observed"], True).all()) and names["observed"].any()
    assert "reference_1" in names["helped"].source_date.attrs
    with rasterio.open("arrays/clear.tif") as file:
        assert np.array_equal(file.read(), names["helped"].image.values)
