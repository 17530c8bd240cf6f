"""What comes out is sane: constant stays constant, clear pixels bit-exact, and twice is the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cmcr_cli.removal.survey import learning
from cmcr_cli.runtime import workers
from cmcr_cli.scene.bands import BANDS

Cmcr = Callable[..., Any]


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


@pytest.mark.parametrize("words", [(), ("--steps", "2"), ("--no-keep-clear",)], ids=str)
def test_constant_in_constant_out(
    cmcr: Cmcr,
    given: list[str],
    write: Callable[..., Path],
    tmp_path: Path,
    out: Path,
    words: tuple[str, ...],
) -> None:
    """Flat ground under a mask: there is nothing to learn but its colour, and no seam may show."""
    colour = np.arange(600, 3200, 200, dtype=np.uint16)
    colour[BANDS.index("B10")] = 10  # no cirrus
    given[1] = str(write(tmp_path / "s2.tif", np.tile(colour[:, None, None], (1, 128, 128)), BANDS))
    assert cmcr(*given, *words).code == 0
    after = read(out / "clear.tif").astype(int)
    assert np.abs(after - colour[:, None, None]).max() <= 1


@pytest.mark.parametrize(
    "words",
    [
        ("--steps", "2", "--samples", "2"),
        ("--no-context",),
        ("--dilate", "60"),
        ("--overlap", "64"),
        ("--batch-size", "3"),
        ("--mask", "auto"),
        ("--offset", "-1000"),
        ("--co", "COMPRESS=ZSTD"),
    ],
    ids=" ".join,
)
def test_clear_pixels_are_bit_exact(
    cmcr: Cmcr, given: list[str], scene: dict[str, Path], out: Path, words: tuple[str, ...]
) -> None:
    ended = cmcr(*given, *words, "--provenance", out / "which.tif")
    assert ended.code == 0, ended.err
    before, after, which = read(scene["s2"]), read(out / "clear.tif"), read(out / "which.tif")[0]
    assert np.array_equal(after[:, which == 1], before[:, which == 1])
    if "auto" not in words:
        assert (which[-20:, -20:] == 1).all() and (which[:60, :60] == 2).all()


def test_twice_the_same_bytes_on_other_cores_in_other_batches_and_strips(
    cmcr: Cmcr, given: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all rasters and the picture; the report and the item say when they were made."""
    names = {"--provenance": "which.tif", "--uncertainty": "std.tif", "--quicklook": "look.png"}
    words = ["--overwrite", "--steps", "2", "--samples", "2"]
    words += [str(word) for option, name in names.items() for word in (option, out / name)]
    found = []
    for cores, batch, strip in ((1, 1, learning.STRIP), (1, 1, learning.STRIP), (3, 2, 34)):
        monkeypatch.setattr(workers, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(learning, "STRIP", strip)
        ended = cmcr(*given, *words, "--batch-size", batch)
        assert ended.code == 0, ended.err
        found.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert sorted(found[0]) == sorted(["clear.tif", *names.values()])
    for name, content in found[0].items():
        assert found[1][name] == content and found[2][name] == content, name
