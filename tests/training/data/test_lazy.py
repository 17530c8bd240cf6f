from __future__ import annotations

from cmcr_cli.training.data.lazy import LazyMapping, LazySequence


def test_a_sequence_reads_what_is_asked_for_and_no_more() -> None:
    read: list[str] = []

    def loud(key: str) -> str:
        read.append(key)
        return key.upper()

    letters = LazySequence("abcd", loud)
    assert len(letters) == 4 and letters[1] == "B" and letters[-1] == "D"
    assert read == ["b", "d"]
    tail = letters[2:]
    assert len(tail) == 2 and read == ["b", "d"]
    assert list(tail) == ["C", "D"]


def test_a_mapping_names_all_and_reads_one() -> None:
    read: list[int] = []

    def loud(key: int) -> int:
        read.append(key)
        return key**2

    squares = LazyMapping({"two": 2, "three": 3}, loud)
    assert list(squares) == ["two", "three"] and len(squares) == 2
    assert "two" in squares and "four" not in squares
    assert read == []
    assert squares["three"] == 9 and read == [3]
