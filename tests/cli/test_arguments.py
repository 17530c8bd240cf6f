from __future__ import annotations

import pytest
from typer import BadParameter

from cmcr_cli.cli.arguments import numbers


def test_lists_of_numbers_of_steps() -> None:
    assert numbers("4") == (4,) and numbers("1,2,4") == (1, 2, 4)


@pytest.mark.parametrize("text", ["", "1,", "1, 2", "-1", "1.5", "one", "1-4"])
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(BadParameter, match=r"--steps .*: expected whole numbers with commas between"):
        numbers(text)
