from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmcr_cli.errors import InputError
from cmcr_cli.training.data.data_check import check_data
from cmcr_cli.training.data.library import load_library
from cmcr_cli.training.data.series_file import check_series, open_series

SOUND: dict[str, Any] = {
    "s2": np.ones((2, 13, 4, 5), np.uint16),
    "s2_present": np.ones(13, bool),
    "s1": np.ones((3, 2, 4, 5), np.int16),
    "s2_dates": ["2020-06-01", "20200701"],
    "s1_dates": ["2020-06-01", "2020-06-02", "2020-06-03"],
    "clean": [True, False],
}


def test_a_sound_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **SOUND)
    assert check_series(path)["s2"].shape == (2, 13, 4, 5)
    with open_series(path) as data:
        assert data["s1"].sum() == 3 * 2 * 4 * 5
    months = {**SOUND, "s2_dates": ["03Dec", "04Jan"], "s1_dates": ["2020-06"] * 3}
    np.savez(path, **months)
    assert "s2_dates" in check_series(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s2": None}, "has no array s2 "),
        ({"s2_present": None}, "has no array s2_present"),
        ({"s2": np.ones((2, 12, 4, 5))}, r"has s2 \(2, 12, 4, 5\)"),
        ({"s2": np.ones((13, 4, 5))}, r"has s2 \(13, 4, 5\)"),
        ({"s2": np.full((2, 13, 4, 5), "x")}, "of <U1"),
        ({"s2": np.ones((0, 13, 4, 5))}, r"has s2 \(0, 13"),
        ({"s2_present": np.ones(12)}, r"has s2_present \(12,\)"),
        ({"s1": np.ones((3, 2, 9, 5))}, r"has s1 \(3, 2, 9, 5\)"),
        ({"s2_dates": ["2020-06-01"]}, r"has s2_dates \(1,\)"),
        ({"s2_dates": ["2020-06-01", "2020-13-01"]}, "'2020-13-01' among s2_dates"),
        ({"s1_dates": ["2020-06-01", "2020-06", "2020-06-03"]}, "'2020-06' among s1_dates"),
        ({"clean": [True]}, r"has clean \(1,\)"),
        ({"place_id": np.array([{}, 1])}, "Python objects as place_id"),
    ],
)
def test_files_of_another_layout(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{name: value for name, value in {**SOUND, **changes}.items() if value is not None})
    with pytest.raises(InputError, match=rf"a\.npz: .*{message}.*expected s2 \(T, 13, H, W\)"):
        check_series(path)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **SOUND)
    content = path.read_bytes()
    for damaged, message in (
        (content[:-40], "is not a whole .npz file"),
        (b"s2,s1", "is not a whole .npz file"),
        (content[:900] + bytes(60) + content[960:], "cannot be read"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"a\.npz: {message}"), open_series(path) as data:
            [data[name] for name in data.files]
    with pytest.raises(InputError, match="cannot be read"):
        check_series(tmp_path / "none.npz")


def test_a_training_and_a_check_name_the_file(data: Path, tmp_path: Path) -> None:
    """The same of each kind of file, by their headers alone."""
    spoilt: dict[str, tuple[str, bytes]] = {
        "places/series.npz": ("is not a whole .npz file", b"PK"),
        "triplets/one/s2_clear.tif": ("cannot be opened", b"II*"),
        "pairs_s2/four/s2_cloudy.tif": ("cannot be opened", b""),
        "labels/items.json": ("cannot be read", b"[{"),
        "triplets/index.csv": ("line 2 is incomplete", b"name,split,scene\none,train\n"),
    }
    for file, (message, content) in spoilt.items():
        folder = tmp_path / "data"
        shutil.copytree(data, folder)
        (folder / "labels").mkdir()
        (folder / file).write_bytes(content)
        with pytest.raises(InputError, match=message) as raised:
            load_library(folder)
        assert str(folder / file) in str(raised.value)
        try:
            found = str(check_data(folder).broken)
        except InputError as error:
            found = str(error)
        assert message in found and file in found
        shutil.rmtree(folder)
