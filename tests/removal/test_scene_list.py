from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.removal.many_scenes import jobs_of
from cmcr_cli.removal.scene_list import read_scenes, scenes_at


@pytest.mark.parametrize(
    ("text", "scenes"),
    [
        ("a.tif", [{"s2": "a.tif"}]),
        ("a.tif,s1.tif\n\n# later\nb.tif", [{"s2": "a.tif", "s1": "s1.tif"}, {"s2": "b.tif"}]),
        ("b.tif, ,b_out.tif", [{"s2": "b.tif", "output": "b_out.tif"}]),
        ('s2,s1_vv,mask\n"a, b.tif",vv.tif,scl', [{"s2": "a, b.tif", "s1_vv": "vv.tif", "mask": "scl"}]),
        ('s2,mask_codes\na.tif,"1=thin,2=cloud"', [{"s2": "a.tif", "mask_codes": "1=thin,2=cloud"}]),
        ("\ufeffs2,output\na.tif,x.tif", [{"s2": "a.tif", "output": "x.tif"}]),  # as spreadsheets write it
        ("S2;Output\na.tif;x.tif", [{"s2": "a.tif", "output": "x.tif"}]),
        ("a.tif;s1.tif;x.tif", [{"s2": "a.tif", "s1": "s1.tif", "output": "x.tif"}]),
        ("output\ts2\nx.tif\ta.tif", [{"s2": "a.tif", "output": "x.tif"}]),
        ('s2,bbox\na.tif,"4,53,5,54"', [{"s2": "a.tif", "bbox": "4,53,5,54"}]),
        ('{"s2": "a.tif", "S1": null}', [{"s2": "a.tif"}]),
        (
            '\ufeff{"s2": "a.tif", "offset": -1000}\n\n# later\n'
            '{"s2": " b.tif ", "bbox": [4.5, 53, 5, 54]}\n',
            [{"s2": "a.tif", "offset": "-1000"}, {"s2": "b.tif", "bbox": "4.5,53,5,54"}],
        ),
        (
            '[{"s2": "a.tif", "references": ["x;y.tif", "z.tif"]}]',
            [{"s2": "a.tif", "references": ("x;y.tif", "z.tif")}],
        ),
    ],
)
def test_list_of_scenes(text: str, scenes: list[dict[str, Any]]) -> None:
    assert read_scenes(text, "list") == scenes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no scenes"),
        ("[]", "lists no scenes"),
        ("s2,s1", "lists no scenes"),
        ("s2,sar\na.tif,b.tif", "columns sar"),
        ("s2,s1,s1\na.tif,b.tif,c.tif", "duplicate columns"),
        ("a.tif,b.tif,c.tif,d.tif", "scene 1 is.*at most 3"),
        ("a.tif\n,b.tif", "scene 2 is"),
        ('"a.tif', "is not a CSV"),
        ('{"s2": "a.tif"}\n{"s2": b}', "scene 2 is not valid JSON"),
        ('{"s2": "a.tif"}\n3', "scene 2 is '3'; expected an object"),
        ('{"s1": "a.tif"}', "scene 1 has no s2"),
        ('{"s2": "a.tif", "sar": 1}', "columns sar"),
        ('{"s2": "a.tif", "S2": "b.tif"}', "duplicate columns"),
        ('{"s2": "a.tif", "sun": {"azimuth": 1}}', "as sun; expected a text, a number, or a list"),
        ("[" * 5000, "is not"),
        ('{"type": "FeatureCollection", "features": []}', "list: is STAC, .*ends in .json"),
    ],
)
def test_lists_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_scenes(text, "list")


def test_items_of_a_collection(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    features = [{"type": "Feature", "id": name} for name in ("S2A_31UFU_1", "S2A_31UFU_2")]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    expected = [{"s2": f"{path}#{each['id']}"} for each in features]
    assert read_scenes(path.read_text(), str(path)) == scenes_at(str(path)) == expected
    single = tmp_path / "one.json"
    single.write_text(json.dumps(features[0]))
    # Named as in a collection: files of items are often all called item.json.
    named = {"s2": str(single), "output": "S2A_31UFU_1_clear.tif"}
    assert read_scenes(single.read_text(), str(single)) == [named]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(InputError, match="holds no items"):
        scenes_at(str(path))
    with pytest.raises(InputError, match="holds no items"):
        read_scenes(path.read_text(), str(path))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, "numberMatched": 9}))
    with pytest.raises(InputError, match="holds 2 of the 9 items"):
        read_scenes(path.read_text(), str(path))
    with pytest.raises(InputError, match="-: is STAC"):
        read_scenes(path.read_text(), "-")


def test_all_bad_rows_are_told_at_once(tmp_path: Path) -> None:
    """Of the list, and of the cells of its rows; what all scenes share is told once."""
    message = r"2 scenes of the list cannot be used:\n- .*scene 2 .*\n- .*scene 3 "
    with pytest.raises(InputError, match=message):
        read_scenes("s2,scale\na.tif,1\n,2\nb.tif,1,2,3\n", "list.csv")
    scenes = read_scenes("s2,scale,offset\na.tif,many,0\nb.tif,1,0\nc.tif,1,none\n", "list.csv")
    with pytest.raises(OptionError, match=r"(?s)2 scenes .*- scene 1 \(a\.tif\).*\n- scene 3 \(c\.tif\)"):
        jobs_of(scenes, tmp_path, {})
    with pytest.raises(OptionError) as refused:
        jobs_of([{"s2": "a.tif"}, {"s2": "b.tif"}], tmp_path, {"steps": -1})
    assert "\n" not in str(refused.value)
