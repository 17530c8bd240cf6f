from __future__ import annotations

import pytest

from cmcr_cli.output.catalogue.cover import Cover, per_cent

COVER = Cover.of(500, 400, (120, 8, 60), 12, 80, kinds=True)


def test_shares_are_of_the_valid_pixels_and_add_up() -> None:
    assert (COVER.valid, COVER.thick_cloud, COVER.thin_cloud, COVER.shadow) == (0.8, 0.3, 0.02, 0.15)
    assert (COVER.dilated, COVER.covered, COVER.edge) == (0.03, 0.5, 0.2)
    assert (COVER.reconstructed, COVER.observed, COVER.with_reference) == (0.7, 0.3, None)


def test_what_references_helped_is_a_part_of_what_is_reconstructed() -> None:
    assert COVER.restored([180, 0, 100]).with_reference == 0.25
    assert COVER.restored([]).with_reference == COVER.restored([280]).with_reference == 0
    assert Cover.of(9, 9, (0, 0, 0), 0, 0, kinds=True).restored([0]).with_reference == 0


def test_the_text_names_what_there_is() -> None:
    covered = "50.0% covered (30.0% thick cloud, 2.0% thin cloud, 15.0% shadow, 3.0% added by --dilate)"
    assert COVER.masked_text() == covered
    assert COVER.text() == f"{covered}, 70.0% reconstructed (20.0% edge)"
    assert (
        COVER.restored([180, 100]).text()
        == f"{covered}, 70.0% reconstructed (20.0% edge, 25.0% with a reference)"
    )
    assert COVER.tag() == f"80.0% of all pixels valid; of these {COVER.text()}"
    clear = Cover.of(9, 9, (0, 0, 0), 0, 0, kinds=True)
    assert clear.text() == "0.0% covered, 0.0% reconstructed"


def test_a_mask_that_does_not_tell_what_covers_the_ground_is_not_taken_to() -> None:
    """As masks of 0 and 1, and --mask all."""
    cover = Cover.of(400, 400, (200, 0, 0), 0, 0, kinds=False)
    assert cover.thick_cloud is cover.shadow is None and cover.covered == 0.5
    assert cover.text() == "50.0% covered, 50.0% reconstructed"
    assert "thick_cloud" not in cover.shares() and "thick cloud" not in dict(cover.rows())


def test_of_nothing_there_are_no_shares() -> None:
    assert Cover.of(0, 0, (0, 0, 0), 0, 0, kinds=True).covered == 0


def test_rows_have_all_that_is_known() -> None:
    rows = dict(COVER.restored([180, 100]).rows())
    assert list(rows.values()) == [
        "80.0%",
        "30.0%",
        "2.0%",
        "15.0%",
        "3.0%",
        "50.0%",
        "20.0%",
        "70.0%",
        "25.0%",
        "30.0%",
    ]
    assert len(rows) == len(COVER.restored([]).shares()) == len(dict(COVER.rows())) + 1


@pytest.mark.parametrize(("share", "text"), [(0, "0.0%"), (0.12345, "12.3%"), (1, "100.0%")])
def test_shares_have_one_digit_behind_the_point(share: float, text: str) -> None:
    assert per_cent(share) == text
