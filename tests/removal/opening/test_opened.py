from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cmcr_cli import RemoveOptions, load_model, open_scene, remove
from cmcr_cli.errors import InputError, OptionError, WeightsError
from cmcr_cli.scene.bands import BANDS


def test_scene_as_arrays(scene: Any) -> None:
    with open_scene(scene.s2, scene.s1) as opened:
        image, db = opened.reflectance(30, 20), opened.backscatter(30, 20)
        assert opened.grid.width == image.shape[2] == db.shape[2]
    with rasterio.open(scene.s2) as file:
        np.testing.assert_allclose(image, file.read()[:, 30:50] / 10_000, atol=1e-6)
    with rasterio.open(scene.s1) as file:
        np.testing.assert_allclose(db, file.read()[:, 30:50])


def test_bands_that_are_absent_nodata_and_no_radar(make_product: Any) -> None:
    with open_scene(make_product().folder) as opened:
        image, db = opened.reflectance(0, 60), opened.backscatter(0, 60)
    assert image.shape == (13, 60, 240) and not image[BANDS.index("B10")].any()
    assert not image[:, :30, :60].any() and image[3, 30:].mean() > 0.01
    assert np.isnan(db).all()
    with pytest.raises(InputError), open_scene("gone.tif"):
        pass


def test_model_is_loaded_once_for_many_scenes(make_scene: Any, weights: Path, tmp_path: Path) -> None:
    scene, model = make_scene(100, 90), load_model(weights, "cpu")
    assert model.label.startswith("tiny ")
    given = {"s2": str(scene.s2), "s1": str(scene.s1), "mask": str(scene.mask)}
    # Strings do for paths; the weights of the options are not even looked for.
    remove(RemoveOptions(**given, output=str(tmp_path / "a.tif"), weights=Path("gone")), model=model)  # type: ignore[arg-type]
    remove(RemoveOptions(**given, output=tmp_path / "b.tif", weights=weights, device="cpu"))
    with rasterio.open(tmp_path / "a.tif") as a, rasterio.open(tmp_path / "b.tif") as b:
        assert np.array_equal(a.read(), b.read())


def test_model_that_cannot_be_loaded(weights: Path) -> None:
    with pytest.raises(WeightsError):
        load_model("gone.safetensors")
    with pytest.raises(OptionError):
        load_model(weights, "abacus")
