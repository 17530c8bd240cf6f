from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from cmcr_cli.errors import GridMismatchError, OptionError, OutputError, WeightsError
from cmcr_cli.output.files import folder_of
from cmcr_cli.removal import RemoveOptions
from cmcr_cli.removal.opening.session import check_files, open_session
from cmcr_cli.removal.survey.mask_sources import NoMask, RasterMask
from cmcr_cli.warning_kinds import ReferenceWarning

Options = Callable[..., RemoveOptions]


@pytest.fixture
def small(make_scene: Callable[..., Any], options: Options) -> Options:
    files = make_scene(40, 30)
    given = {"s2": str(files.s2), "s1": str(files.s1), "mask": str(files.mask), "mask_codes": "binary"}
    return lambda **changes: options(**given | changes)


def test_all_that_a_removal_needs_is_open(small: Options) -> None:
    with open_session(small(device="cpu,cpu")) as session:
        assert (session.optical.grid.height, session.optical.grid.width) == (40, 30)
        assert session.radar is not None and session.radar.read(0, 40)[0].shape == (2, 40, 30)
        assert isinstance(session.mask, RasterMask) and session.area is None and session.references == ()
        assert session.device == "cpu,cpu" and len(session.devices) == 2
        assert [type(each).__name__ for each in session.warnings].count("MaskWarning") == 1
        assert session.weights.label.startswith("tiny")
    with open_session(small(s1=None, mask="all", mask_codes=None)) as session:
        assert session.radar is None and isinstance(session.mask, NoMask)


def test_a_guide_comes_after_the_references(small: Options, tmp_path: Path) -> None:
    s2, s1 = small().s2, small().s1
    assert s1 is not None
    with open_session(small(guide=s1, references=(s2,))) as session:
        # The scene itself is no reference of its own; the guide is none of the images that inputs describe.
        assert [each.when for each in session.references] == ["guide"]
        assert session.inputs.references == () and len(session.references_left_out) == 1
    same = tmp_path / "same.tif"
    with rasterio.open(s1) as file, rasterio.open(same, "w", **file.profile) as written:
        written.write(np.full_like(file.read(), 3))
    with open_session(small(guide=str(same))) as session:
        assert session.references == ()
        assert [each.path for each in session.references_left_out] == [str(same)]
        assert any(isinstance(each, ReferenceWarning) for each in session.warnings)
    with pytest.raises(OutputError, match="is also used as"):
        check_files(small(guide=str(same), output=same))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"weights": Path("gone.safetensors")}, WeightsError),
        ({"device": "abacus"}, OptionError),
        ({"bbox": (100.0, 10.0, 100.1, 10.1)}, GridMismatchError),
    ],
)
def test_what_is_wrong_is_raised_and_nothing_is_written(
    small: Options, tmp_path: Path, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error), open_session(small(**changes)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_files_that_must_not_meet(options: Options, tmp_path: Path) -> None:
    """An output is no input, nor another output; weights are inputs too."""
    chosen = options()
    check_files(chosen)
    for others in ([chosen.output], [Path(chosen.s2)], [chosen.weights]):
        with pytest.raises(OutputError, match="is also used as"):
            check_files(chosen, others)  # type: ignore[arg-type]
    chosen.output.write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        check_files(options(overwrite=False))
    assert [path.name for path in tmp_path.iterdir()] == ["clear.tif"]


def test_the_old_set_of_a_run_that_was_killed_is_put_back(options: Options) -> None:
    """Else the next run would be told that there is nothing to overwrite."""
    chosen = options(overwrite=False)
    folder_of(chosen.output).mkdir()
    (folder_of(chosen.output) / "old").write_text("old")
    with pytest.raises(OutputError, match="--overwrite"):
        check_files(chosen)
    assert chosen.output.read_text() == "old"
