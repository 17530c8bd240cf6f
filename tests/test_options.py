from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.errors import OptionError
from cmcr_cli.removal import RemoveOptions


def options(**changes: Any) -> RemoveOptions:
    return RemoveOptions(s2="s2.tif", output=Path("clear.tif"), **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, ["--steps 0", "1 to 64"]),
        ({"steps": 65}, ["--steps 65", "1 to 64"]),
        ({"samples": 0}, ["--samples 0", "1 to 256"]),
        ({"seed": -1}, ["--seed -1"]),
        ({"overlap": 33}, ["--overlap 33", "16 to 128", "a multiple of 2"]),
        ({"overlap": 14}, ["--overlap 14", "16 to 128"]),
        ({"batch_size": 0}, ["--batch-size 0"]),
        ({"mask": "absent.tif", "mask_codes": "fmsk"}, ["--mask-codes fmsk", "omnicloudmask"]),
        ({"mask": "absent.tif", "mask_codes": "1=fog"}, ["--mask-codes 1=fog", "'1=fog'"]),
        *(
            ({"mask": mask, "mask_codes": "scl"}, [f"--mask {mask}", "path of a raster"])
            for mask in ("auto", "scl", "omnicloudmask", "all")
        ),
        ({"uncertainty": Path("std.tif")}, ["--uncertainty", "--samples 2 or more"]),
        ({"samples": 2}, ["--samples 2", "--steps 1", "--steps 2 or more"]),
        ({"provenance": "p.jpg"}, ["--provenance p.jpg", "ends in .jpg", "expected .tif or .tiff"]),
        ({"quicklook": "q.tif"}, ["--quicklook q.tif", "expected .png"]),
        ({"report": "-"}, ["--report -", "is a stream", ".html"]),
        *(({"datetime": text}, ["--datetime", "2015-06-23", "as in"]) for text in ("june", "1999-01-01", "")),
        *(({"dilate": metres}, ["--dilate", "0 to 2000"]) for metres in (-1, 5000)),
        *(
            (given, ["--s1-vv and --s1-vh"])
            for given in ({"s1_vv": "a.tif"}, {"s1": "s1.tif", "s1_vv": "a.tif", "s1_vh": "b.tif"})
        ),
        ({"samples": 8, "uncertainty": Path("std.tif")}, ["--samples 8", "--steps 1", "--steps 2 or more"]),
    ],
)
def test_what_is_out_of_range_or_contradicts_itself_is_refused(
    changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(OptionError) as error:
        options(**changes)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"samples": 2, "steps": 2},
        {"samples": 1, "steps": 64},
        {"overlap": 128},
        {"mask": "absent.tif", "mask_codes": "cloudsen12"},
    ],
)
def test_what_can_be_done_is_accepted(changes: dict[str, Any]) -> None:
    assert options(**changes).outputs == {"--output": Path("clear.tif")}


def test_styles_are_written_beside_rasters() -> None:
    found = options(qml=True, provenance="out/p.tiff", quicklook="q.png").outputs
    assert {name: str(path) for name, path in found.items() if name.startswith("--qml")} == {
        "--qml --output": "clear.qml",
        "--qml --provenance": "out/p.qml",
    }


def test_every_file_to_be_written_is_named_by_its_option() -> None:
    endings = {"provenance": "tif", "uncertainty": "tif", "quicklook": "png"}
    paths = {name: Path(f"{name}.{ending}") for name, ending in endings.items()}
    expected = {"--output": Path("clear.tif"), **{f"--{name}": path for name, path in paths.items()}}
    assert options(steps=2, samples=2, **paths).outputs == expected
