from __future__ import annotations

import re

import cmcr_cli
from cmcr_cli.version import __version__


def test_it_is_that_of_a_release_or_of_the_time_before_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev0)?", __version__)
    assert cmcr_cli.__version__ == __version__
