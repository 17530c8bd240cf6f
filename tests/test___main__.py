from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from cmcr_cli import __main__ as command
from cmcr_cli.cli import main, stopping


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in stopping.STOPS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_it_ends_as_the_command_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals are listened to while it runs, and end the process at once when it is done."""
    seen = []

    def run() -> None:
        seen.append(signal.getsignal(signal.SIGTERM))
        raise SystemExit(4)

    monkeypatch.setattr(main, "main", run)
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 4
    assert [*seen, signal.getsignal(signal.SIGTERM)] == [stopping._stop, stopping._leave]


def test_an_interrupt_between_two_imports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "main", run)
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == stopping.INTERRUPTED == 130
    assert capsys.readouterr().err == "cmcr: interrupted\n"
