from __future__ import annotations

import numpy as np

from cmcr_cli.scene.span import Span


def test_a_span_is_found_in_an_array_that_begins_elsewhere() -> None:
    span, rows = Span(12, 17), np.arange(10, 30)
    assert span.size == 5
    assert rows[span.within(10)].tolist() == [12, 13, 14, 15, 16]
    assert span == (12, 17)
