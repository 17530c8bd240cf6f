"""One call of the system fails while a set is written: a few of what `benchmarks/every_call.py` tries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.syscalls import available

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "every_call.py"


@pytest.mark.skipif(not available(), reason="needs seccomp, on Linux on x86-64")
def test_a_failing_disk_leaves_an_old_or_a_new_set(tmp_path: Path) -> None:
    words = ["writer", "--times", "12", "--work", tmp_path, "--results", tmp_path]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "every-call-writer.json").read_text())["rows"]
    assert sum(row["runs"] for row in rows) == 12 and not any(row["faults"] for row in rows)
