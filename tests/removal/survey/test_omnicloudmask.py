from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

from cmcr_cli.errors import InputError, WeightsError
from cmcr_cli.removal import RemoveOptions, write_mask
from cmcr_cli.removal.survey import omnicloudmask
from cmcr_cli.warning_kinds import MaskWarning

Options = Callable[..., RemoveOptions]


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A module that answers as OmniCloudMask does: bright is cloud. Returns the calls it got."""
    package = tmp_path / "omnicloudmask"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model_download_links.csv").write_text("file_name,version\nold.pth,1.0\nnew.safetensors,4.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "omnicloudmask", raising=False)
    calls: list[dict[str, Any]] = []

    def predict(image: NDArray[Any], **settings: Any) -> NDArray[np.uint8]:
        calls.append({"shape": image.shape, **settings})
        return (image.mean(axis=0) > 3000).astype(np.uint8)[None]

    module = __import__("omnicloudmask")
    module.predict_from_array = predict
    return calls


def test_omnicloudmask_runs_over_strips(
    options: Options,
    scene: Any,
    stand_in: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(omnicloudmask, "OMNI_ROWS", 128)
    monkeypatch.setattr(omnicloudmask, "OMNI_MARGIN", 40)
    (tmp_path / "new.safetensors").write_bytes(bytes(2**20 + 1))
    report = write_mask(options(output=tmp_path / "out.tif", mask="omnicloudmask", mask_weights=tmp_path))
    assert [call["shape"][1:] for call in stand_in] == [(167, 333), (208, 333), (185, 333), (57, 333)]
    assert all(call["destination_model_dir"] == tmp_path for call in stand_in)
    bright = read(scene.s2)[[3, 2, 8]].mean(axis=0) > 3000
    found = read(tmp_path / "out.tif")[0] == 1
    assert bright.any() and found[bright].all()
    assert not (found & ~ndimage.binary_dilation(bright, np.ones((3, 3)))).any()
    assert "OmniCloudMask" in str(next(each for each in report.warnings if isinstance(each, MaskWarning)))


def test_omnicloudmask_is_never_let_to_download(
    options: Options, stand_in: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="--mask-weights DIR"):
        write_mask(options(output=tmp_path / "out.tif", mask="omnicloudmask"))
    (tmp_path / "new.safetensors").write_bytes(b"an empty shell")
    with pytest.raises(WeightsError, match=r"lacks new\.safetensors") as caught:
        write_mask(options(output=tmp_path / "out.tif", mask="omnicloudmask", mask_weights=tmp_path))
    assert caught.value.exit_code == 3 and not stand_in


def test_omnicloudmask_that_is_not_installed(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "omnicloudmask", ModuleType("omnicloudmask"))
    monkeypatch.setitem(sys.modules, "omnicloudmask", None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="pip install omnicloudmask"):
        write_mask(options(output=tmp_path / "out.tif", mask="omnicloudmask"))


def test_a_scene_without_its_bands_is_refused(
    make_scene: Callable[..., Any], options: Options, tmp_path: Path
) -> None:
    files = make_scene(40, 40)
    with rasterio.open(files.s2) as file:
        profile, dn = file.profile, file.read()[[1, 2, 3, 7]]
    with rasterio.open(tmp_path / "four.tif", "w", **{**profile, "count": 4}) as file:
        file.write(dn)
        file.descriptions = ("B02", "B03", "B04", "B08")
    with pytest.raises(InputError, match=r"lacks B8A.*--mask auto"):
        write_mask(options(s2=str(tmp_path / "four.tif"), output=tmp_path / "o.tif", mask="omnicloudmask"))
