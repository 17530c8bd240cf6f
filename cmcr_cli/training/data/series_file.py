"""Array files of the gathered layout (.npz): checked by their headers, and opened."""

from __future__ import annotations

import datetime
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmcr_cli.errors import InputError

DAMAGED = (OSError, ValueError, LookupError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""Errors that damaged files cause."""

WHOLE_DATE = 8
"""Characters of the shortest date that names a day; others are names of months and the like."""

EXPECTED = "s2 (T, 13, H, W), s2_present (13,), and if there is radar s1 (T, 2, H, W)"


@dataclass(frozen=True, slots=True)
class Header:
    """What an array file says of one of its arrays.

    Attributes:
        shape: Size of each axis.
        dtype: Type of the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@contextmanager
def open_series(path: Path) -> Iterator[Any]:
    """Open an array file.

    Args:
        path: The file.

    Yields:
        Its arrays by name, which are read when they are asked for.

    Raises:
        InputError: The file is damaged, or is not laid out as `gathered` describes.
    """
    check_series(path)
    try:
        with np.load(path, allow_pickle=False) as data:
            yield data
    except InputError:
        raise
    except DAMAGED as error:
        raise _damaged(path, error) from error


def check_series(path: Path) -> Mapping[str, Header]:
    """Check an array file by its headers and its dates; pixels are not read.

    Args:
        path: The file.

    Returns:
        Header of each array by name.

    Raises:
        InputError: As of `open_series`.
    """
    if path.is_file() and not zipfile.is_zipfile(path):
        raise InputError(
            f"{path}: is not a whole .npz file; expected one as numpy.savez writes it. Copy it again."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {Path(name).stem: _header(archive, name) for name in archive.namelist()}
        fault = _fault(headers)
        if fault is None and "s2_dates" in headers:
            with np.load(path, allow_pickle=False) as data:
                dates = [str(each) for each in data["s2_dates"]]
                fault = _fault_of_dates(dates, [str(each) for each in data.get("s1_dates", ())])
    except DAMAGED as error:
        raise _damaged(path, error) from error
    if fault is not None:
        raise InputError(f"{path}: {fault}; expected {EXPECTED}. Write the file again, or remove it.")
    return headers


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read ({error}); expected a complete .npz file. Copy it again.")


def _header(archive: zipfile.ZipFile, name: str) -> Header:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"{name} has version {version} of the format")
        shape, _, dtype = readers[version](file)
    return Header(shape, dtype)


def _fault(headers: Mapping[str, Header]) -> str | None:
    """What is wrong with the arrays, as far as their headers tell."""
    for name in ("s2", "s2_present"):
        if name not in headers:
            return f"has no array {name} (but {', '.join(sorted(headers)) or 'none'})"
    if odd := [name for name, header in headers.items() if header.dtype.hasobject]:
        return f"has Python objects as {odd[0]}, which are not read"
    s2, present = headers["s2"], headers["s2_present"]
    if len(s2.shape) != 4 or s2.shape[1] != 13 or 0 in s2.shape or s2.dtype.kind not in "iuf":
        return f"has s2 {s2.shape} of {s2.dtype}"
    if present.shape != (13,):
        return f"has s2_present {present.shape}"
    if "s1" in headers:
        s1 = headers["s1"]
        if len(s1.shape) != 4 or s1.shape[1:] != (2, *s2.shape[2:]) or s1.dtype.kind not in "iuf":
            return f"has s1 {s1.shape} of {s1.dtype} beside s2 {s2.shape}"
    for name in ("s2_dates", "clean", "place_id"):
        if name in headers and headers[name].shape != s2.shape[:1]:
            return f"has {name} {headers[name].shape} beside s2 {s2.shape}"
    return None


def _fault_of_dates(dates: list[str], radar_dates: list[str]) -> str | None:
    """Dates that look like days and are none; the nearest radar is looked for by them."""
    days = [date for date in dates if len(date) >= WHOLE_DATE]
    for name, stated in (("s2_dates", days), ("s1_dates", radar_dates if days else [])):
        for date in stated:
            try:
                datetime.date.fromisoformat(date)
            except ValueError:
                return f"has {date!r} among {name}, which is not a date"
    return None
