from __future__ import annotations

import inspect

import pytest

from cmcr_cli import errors
from cmcr_cli.errors import CmcrError, InputError, OverlapError

CODES = {"OptionError": 2, "WeightsError": 3, "GridMismatchError": 4, "OverlapError": 4}
"""Exit codes other than 1; they are part of the interface."""


def test_exit_codes_and_what_python_knows_them_as() -> None:
    kinds = dict(inspect.getmembers(errors, inspect.isclass))
    assert kinds.keys() > CODES.keys()
    for name, kind in kinds.items():
        assert issubclass(kind, CmcrError) and kind.exit_code == CODES.get(name, 1)
        assert kind is CmcrError or issubclass(kind, OSError | ValueError), name


def test_messages_tell_no_secrets() -> None:
    error = InputError("/vsicurl/https://me:word@host/s2.tif?sig=abc: cannot be read")
    assert "word" not in str(error) and "abc" not in str(error) and "host/s2.tif" in str(error)
    assert InputError(2, "no such file").errno == 2


def test_a_raster_beside_the_scene_is_on_another_grid() -> None:
    with pytest.raises(errors.GridMismatchError):
        raise OverlapError("s1.tif: does not cover the scene")
