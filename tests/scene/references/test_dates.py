from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from cmcr_cli.scene.references.dates import Moment, date_of, date_of_name, moment, taken

JUNE = date(2024, 6, 1)


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("S2A_MSIL1C_20240601T103021_N0510_R108_T32TQM_20240703T120000.SAFE", JUNE),
        ("data/S2B_MSIL2A_20240601T103021_N0510_R108_T32TQM_20240703T120000.SAFE.zip", JUNE),
        (
            "S2A_OPER_PRD_MSIL1C_PDMC_20160604T120000_R065_V20160601T103025_20160601T103025.SAFE",
            date(2016, 6, 1),
        ),
        ("T32TQM_20240601T103021_B02_10m.jp2", JUNE),
        ("S2B_32TQM_20240601_0_L2A.json", JUNE),
        ("items.json#S2B_32TQM_20240601_0_L2A", JUNE),
        ("june/s2_20240601.tif", JUNE),
        ("2024-06-01.tif", JUNE),
        ("20240601T103021.tif", JUNE),
        ("S2A_MSIL2A_20240601T103021_N0510_R108_T32TQM_20240601T120000/stack.tif", JUNE),
        ("/vsicurl/https://example.com/s2_20240601.tif?expires=20250101", JUNE),
        ("20240501/stack.tif", None),  # the name of a folder counts as that of a product only
        ("s2_20240601_20240608.tif", None),
        ("s2_20241301.tif", None),
        ("s2_2024-0601.tif", None),
        ("run_120240601.tif", None),
        ("S2A_MSIL2A_20249901T103021.tif", None),
        ("18991231.tif", None),
        ("stack.tif", None),
    ],
)
def test_dates_of_names(path: str, day: date | None) -> None:
    assert date_of_name(path) == day


@pytest.mark.parametrize(
    ("tags", "day"),
    [
        ({"PRODUCT_START_TIME": "2024-06-01T10:20:31.024Z"}, JUNE),
        ({"PRODUCT_START_TIME": "2024-06-02T01:00:00+02:00"}, JUNE),
        ({"ACQUISITION_DATE": "2024-06-01"}, JUNE),
        ({"ACQUISITION_DATE": "20240601", "PRODUCT_START_TIME": "unknown"}, JUNE),
        ({"TIFFTAG_DATETIME": "2024:06:01 10:30:21"}, JUNE),
        ({"TIFFTAG_DATETIME": "never"}, None),
        ({"PRODUCT_START_TIME": "9999-12-31T23:59:59-10:00"}, None),
    ],
)
def test_dates_of_tags(tags: dict[str, str], day: date | None) -> None:
    assert date_of(tags, "stack.tif") == day


def test_what_a_product_says_wins_over_its_name_and_a_name_over_when_a_file_was_written() -> None:
    assert date_of({"PRODUCT_START_TIME": "2024-06-01T10:20:31Z"}, "s2_20240101.tif") == JUNE
    assert date_of({"TIFFTAG_DATETIME": "2024:07:09 10:30:21"}, "s2_20240601.tif") == JUNE


@pytest.mark.parametrize(
    ("tags", "path", "found"),
    [
        (
            {"PRODUCT_START_TIME": "2024-06-01T10:20:31.024Z"},
            "x_20200101T000000.tif",
            datetime(2024, 6, 1, 10, 20, 31, 24_000, tzinfo=UTC),
        ),
        ({}, "a/S2A_MSIL1C_20220105T110431_N0301.tif", datetime(2022, 1, 5, 11, 4, 31, tzinfo=UTC)),
        ({}, "s2_2022-01-05T110431.tif", datetime(2022, 1, 5, 11, 4, 31, tzinfo=UTC)),
        ({"ACQUISITION_DATE": "2024-06-01"}, "s2.tif", JUNE),
        (
            {"ACQUISITION_DATE": "2024-06-01"},
            "s2_20240601T103021.tif",
            datetime(2024, 6, 1, 10, 30, 21, tzinfo=UTC),
        ),
        ({"ACQUISITION_DATE": "2024-06-01"}, "s2_20240602T103021.tif", JUNE),
        ({"TIFFTAG_DATETIME": "2024:06:01 10:30:21"}, "s2.tif", None),
        ({}, "s2_20229999T999999.tif", None),
        ({}, "s2.tif", None),
    ],
)
def test_a_scene_states_a_time_a_day_or_nothing(
    tags: dict[str, str], path: str, found: Moment | None
) -> None:
    """When a file was written is no statement; of the same day the time counts."""
    assert taken(tags, path) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2024-06-01", JUNE),
        (" 20240601 ", JUNE),
        ("2024-06-01T10:20:31", datetime(2024, 6, 1, 10, 20, 31, tzinfo=UTC)),
        ("2024-06-02T01:00:00+02:00", datetime(2024, 6, 1, 23, tzinfo=UTC)),
        ("1066-10-14", None),
        ("june", None),
    ],
)
def test_days_and_times_in_iso_8601(text: str, found: Moment | None) -> None:
    assert moment(text) == found
