from __future__ import annotations

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cmcr_cli import warning_kinds
from cmcr_cli.warning_kinds import (
    CmcrWarning,
    MaskWarning,
    NoRadarWarning,
    RadarWarning,
    RadiometryWarning,
    WarningLog,
)

KINDS = [
    kind
    for kind in vars(warning_kinds).values()
    if isinstance(kind, type) and issubclass(kind, CmcrWarning) and kind is not CmcrWarning
]


def test_every_warning_is_kept_and_issued_once() -> None:
    log = WarningLog()
    found = [NoRadarWarning("none"), RadarWarning("none"), NoRadarWarning("none"), NoRadarWarning("other")]
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        log.add(*found[:2])
        log.add(*found[2:])
    assert list(log) == [found[0], found[1], found[3]]
    assert [each.message for each in issued] == list(log)


def test_each_run_issues_its_own() -> None:
    """Python itself repeats a warning of one line only where a filter says "always"."""
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("default")
        for _ in range(2):
            WarningLog().add(NoRadarWarning("none"))
    assert len(issued) == 2


def test_filters_choose_by_kind() -> None:
    log = WarningLog()
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", RadarWarning)
        warnings.filterwarnings("error", category=RadiometryWarning)
        log.add(NoRadarWarning("none"), MaskWarning("SCL"))
        with pytest.raises(RadiometryWarning, match="offset"):
            log.add(RadiometryWarning("offset"))
    assert [each.category for each in issued] == [MaskWarning]
    assert [type(each) for each in log] == [NoRadarWarning, MaskWarning, RadiometryWarning]


def test_they_are_issued_at_the_line_that_called_the_package() -> None:
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        WarningLog().add(NoRadarWarning("none"))
    assert issued[0].filename == __file__


@pytest.mark.filterwarnings("ignore::cmcr_cli.warning_kinds.CmcrWarning")
def test_threads_share_a_list() -> None:
    log = WarningLog()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: log.add(MaskWarning(str(n % 50))), range(2000)))
    assert sorted(int(str(each)) for each in log) == list(range(50))


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_documented_and_can_be_sent_to_another_process(kind: type[CmcrWarning]) -> None:
    assert kind.__doc__ and issubclass(kind, UserWarning)
    table = (Path(__file__).parents[1] / "docs" / "limits.md").read_text(encoding="utf-8")
    assert f"| `{kind.__name__}` |" in table
    again = copy.deepcopy(kind("text"))  # by the protocol that sends it to another process
    assert type(again) is kind and str(again) == "text"
