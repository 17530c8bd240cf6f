"""The journal of a run: what a later run with `--resume` needs to go on where this one was stopped.

Rows are computed in order and depend on nothing but the inputs, the options and the survey; so it is enough
to keep the survey, the rows that are finished, and how many they are. The files lie in the folder in
which the output is built.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from cmcr_cli.errors import OutputError
from cmcr_cli.ground.context import SceneContext
from cmcr_cli.output.cog import checksum_of
from cmcr_cli.output.files import GDAL_ERRORS, new_file, synchronize
from cmcr_cli.removal.survey.cloud_map import Cover
from cmcr_cli.removal.survey.first_pass import Survey

STATE, SURVEY = "journal.json", "survey.npz"

UNREADABLE = (*GDAL_ERRORS, EOFError, LookupError, TypeError, ValueError, zipfile.BadZipFile)
"""What damaged files of a journal can lead to."""


@dataclass(slots=True)
class Journal:
    """How far a run has come; get one from `open_journal`."""

    folder: Path
    fingerprint: str
    rows: int  # finished, from the top
    survey: Survey | None
    checksums: dict[str, int]  # of these rows, by the option that names the raster

    def keep_survey(self, survey: Survey) -> None:
        """Write down what the first pass found."""
        arrays: dict[str, Any] = {
            "cover": survey.cover.planes,
            "scene": np.array([*survey.cover.phase, survey.cover.width]),
            "shares": np.array([survey.valid_share, survey.covered_share]),
            "visible": survey.visible,
            "unmixing": survey.unmixing,
        }
        if survey.context is not None:
            arrays |= {name: getattr(survey.context, name) for name in SceneContext.__slots__}
        with _replacing(self.folder / SURVEY) as file:
            np.savez(file, **arrays)
        self._save()

    def keep_rows(self, rows: int, checksums: Mapping[str, int]) -> None:
        """Write down that the first `rows` rows are finished and safe."""
        self.rows, self.checksums = rows, dict(checksums)
        self._save()

    def _save(self) -> None:
        with _replacing(self.folder / STATE) as file:
            state = {"fingerprint": self.fingerprint, "rows": self.rows, "checksums": self.checksums}
            file.write(json.dumps(state).encode())

    def read(self, rasters: Mapping[str, Path]) -> bool:
        """Take over what an earlier run wrote; False when there is nothing that fits and is whole."""
        try:
            state = json.loads((self.folder / STATE).read_bytes())
            if state["fingerprint"] != self.fingerprint:
                return False
            rows, checksums = int(state["rows"]), dict(state["checksums"])
            found = _read_survey(self.folder / SURVEY)
            if rows and checksums != {name: checksum_of(path, rows) for name, path in rasters.items()}:
                return False
        except UNREADABLE:
            return False
        self.survey, self.rows, self.checksums = found, rows, checksums
        return True


def open_journal(
    folder: Path, about: Mapping[str, Any], rasters: Mapping[str, Path], notes: list[str], *, resume: bool
) -> Journal:
    """The journal in `folder`, where the output is built; with `resume` it begins where a run was stopped.

    `about` is all that the pixels depend on: what was done for other inputs or options is not taken over, nor
    are rows that have changed in one of the `rasters`, and `notes` says so. The caller holds the lock of the
    output.
    """
    text = json.dumps(about, sort_keys=True, default=str)
    journal = Journal(folder, hashlib.sha256(text.encode()).hexdigest(), 0, None, {})
    if resume and not journal.read(rasters):
        notes.append("--resume: nothing whole was found of a run with these inputs and options; starts anew")
    if journal.survey is None:
        (folder / STATE).unlink(missing_ok=True)
    return journal


def file_state(path: str | None) -> list[Any]:
    """What tells one state of an input file from another; only the name where it is no local file."""
    if path is None or not Path(path).exists():
        return [path]
    state = Path(path).stat()
    return [str(Path(path).resolve()), state.st_size, state.st_mtime_ns]


def _read_survey(path: Path) -> Survey:
    with np.load(path, allow_pickle=False) as arrays:
        top, left, width = (int(n) for n in arrays["scene"])
        context = None
        if "mean" in arrays:
            fields = {name: arrays[name] for name in SceneContext.__slots__ if name != "cell"}
            context = SceneContext(**fields, cell=int(arrays["cell"]))
        shares = (float(share) for share in arrays["shares"])
        learnt = context, np.float32(arrays["visible"]), arrays["unmixing"]
        return Survey(Cover(arrays["cover"], (top, left), width), *learnt, *shares)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when it is complete."""
    new = path.with_name(path.name + ".new")
    try:
        with new_file(new) as file:
            yield file
        synchronize(new)
        new.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error}); free some space, see -o") from error
