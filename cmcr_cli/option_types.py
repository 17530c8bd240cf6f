"""Types of options as Python callers give them: checked by their annotations, and told in messages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from cmcr_cli.errors import OptionError

WORDS = {str: "a text", Path: "a path", int: "a whole number", float: "a number", bool: "True or False"}

ARRAYS = "Give arrays and open datasets to cmcr_cli.remove_dataset"
"""What helps those who give them to another function."""

_REFUSED = object()
"""In place of a value that has another type."""


def kind_of(value: Any) -> str:
    """Name the type of a value for messages, with the shape of an array; never its content.

    Args:
        value: Anything.

    Returns:
        A name, such as `list of str`.
    """
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, list | tuple) and value:
        return f"{name} of {kind_of(value[0])}"
    shape = getattr(value, "shape", None)
    return f"{name} of the shape {shape}" if isinstance(shape, tuple) else name


def checked(flag: str, kind: Any, value: Any, *, path: bool = False) -> Any:
    """Check the type of a value.

    Args:
        flag: Name of the option, for messages.
        kind: Its annotation.
        value: What was given.
        path: Whether texts are paths of inputs.

    Returns:
        The value in the annotated type: paths as texts, numbers of numpy as those of Python.

    Raises:
        OptionError: It has another type.
    """
    found = _taken(kind, value)
    if found is _REFUSED:
        words = _words(kind)
        if path:
            raise OptionError(
                f"{flag} is {kind_of(value)}; expected {words.replace('a text', 'a path')}. {ARRAYS}."
            )
        raise OptionError(f"{flag} is {kind_of(value)}; expected {words}. Give such a value.")
    return found


def _taken(kind: Any, value: Any) -> Any:
    """The value in the annotated type, or _REFUSED."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        found = (_taken(each, value) for each in inner)
        return next((each for each in found if each is not _REFUSED), _REFUSED)
    if kind is NoneType:
        return None if value is None else _REFUSED
    if origin is Literal:
        return value if isinstance(value, str) else _REFUSED
    if origin is tuple:
        return _tuple(inner, value)
    if origin is not None:  # a Mapping
        return value if isinstance(value, Mapping) else _REFUSED
    if kind in (str, Path):
        return kind(os.fspath(value)) if isinstance(value, str | os.PathLike) else _REFUSED
    if kind is bool:
        return bool(value) if type(value).__name__ in ("bool", "bool_") else _REFUSED
    if kind in (int, float):
        number = Integral if kind is int else Real
        fits = isinstance(value, number) and not isinstance(value, bool)
        return kind(value) if fits else _REFUSED
    return value if isinstance(value, kind) else _REFUSED


def _tuple(inner: Sequence[Any], value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return _REFUSED
    kinds = [inner[0]] * len(value) if Ellipsis in inner else inner
    if len(kinds) != len(value):
        return _REFUSED
    found = tuple(_taken(kind, each) for kind, each in zip(kinds, value, strict=True))
    return _REFUSED if any(each is _REFUSED for each in found) else found


def _words(kind: Any) -> str:
    """A type for people."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_words(each) for each in inner if each is not NoneType)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        several = f"{len(inner)} values" if Ellipsis not in inner else "a list"
        return f"{several}, each {_words(inner[0])}"
    if origin is not None:
        return "a dictionary"
    return WORDS.get(kind, getattr(kind, "__name__", str(kind)))
