from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cmcr_cli.removal import RemoveOptions, estimate, remove

Options = Callable[..., RemoveOptions]


def test_estimate_writes_nothing_and_counts_what_remove_does(options: Options, tmp_path: Path) -> None:
    chosen = options()
    expected = estimate(chosen)
    assert list(tmp_path.iterdir()) == []
    report = remove(chosen)
    assert (expected.patches, expected.patches_restored) == (report.patches, report.patches_restored)
    assert expected.seconds > 0 and expected.memory_mb > 0
