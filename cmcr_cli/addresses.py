"""Addresses without their secrets: the queries of signed ones, and user names and passwords."""

from __future__ import annotations

import re

ADDRESS = r"(?:\w+://|\b(?:https?|ftp):/|/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs)\w*)"

QUERY = re.compile(rf"({ADDRESS}[^\s?'\"<>]*)\?[^\s'\"<>]*?(?=[:,;.)\]]*(?:[\s'\"<>]|$))", re.IGNORECASE)

# Keys may contain slashes; a number before the first one is a port. A path has lost one slash of an address.
USER = re.compile(r"(\w://|\b(?:https?|ftp):/)(?:[^/\s'\"<>?]*|[^/:\s'\"<>?]*:(?!\d+/)[^\s'\"<>?@]*)@")

PASSWORD = re.compile(
    r"\b(passw(?:or)?d|pwd|token|secret|signature|sig|api[_-]?key|access[_-]?key)=[^\s'\"&<>]+", re.IGNORECASE
)


def public(text: str) -> str:
    """Leave secrets out of a text that others may read: a message, a tag, a report, a command line.

    Args:
        text: Any text that may contain addresses.

    Returns:
        The text, in which addresses have neither a query nor a user, and passwords are not spelled out.
    """
    text = USER.sub(r"\1", text)
    return PASSWORD.sub(r"\1=...", QUERY.sub(r"\1", text))
