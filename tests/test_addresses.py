from __future__ import annotations

import pickle

import pytest

from cmcr_cli.addresses import public
from cmcr_cli.errors import InputError
from cmcr_cli.warning_kinds import RadarWarning


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/a.tif?sig=abc%2F: cannot be opened", "https://host/a.tif: cannot be opened"),
        ("/vsicurl/https://host/a.tif?X-Amz=1&b=2", "/vsicurl/https://host/a.tif"),
        ("'/vsizip//vsicurl/https://host/a.zip?s=1' is", "'/vsizip//vsicurl/https://host/a.zip' is"),
        ("/vsicurl?url=https%3A%2F%2Fhost&sig=1 fails", "/vsicurl fails"),
        ("GTIFF_DIR:1:/vsiaz/box/a.tif?sv=2", "GTIFF_DIR:1:/vsiaz/box/a.tif"),
        ("https://me:pass@host/a.tif, ftp://me@host", "https://host/a.tif, ftp://host"),
        ("https://me:p@ss@host/a", "https://host/a"),
        ("PosixPath('https:/me:pass@host/a.json?sig=1')", "PosixPath('https:/host/a.json')"),
        ("s3://key:se/cret@bucket/a", "s3://bucket/a"),
        ("https://host:8080/a@2x.png", "https://host:8080/a@2x.png"),
        ("PG:host=h password=abc dbname=x", "PG:host=h password=... dbname=x"),
        ("what? a/b?c.tif, me@host", "what? a/b?c.tif, me@host"),
    ],
)
def test_secrets_are_left_out(text: str, shown: str) -> None:
    assert public(text) == shown == public(shown)


def test_messages_of_errors_and_warnings_tell_none() -> None:
    error = InputError("https://me:pass@host/a.tif?sig=abc: is damaged")
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "https://host/a.tif: is damaged"
    assert str(RadarWarning("https://host/a.tif?sig=abc is odd")) == "https://host/a.tif is odd"
