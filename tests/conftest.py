from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real imagery beside the project; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("real imagery is not beside this checkout (expected ../shared/data)")
    return SHARED
