from __future__ import annotations

import pytest

import cmcr_cli


@pytest.mark.parametrize("name", cmcr_cli.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(cmcr_cli, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cmcr_cli.nonsense
