"""The journal of a run: what a later run with `--resume` needs to go on where this one was stopped.

Rows are computed in order and depend on nothing but the inputs, the options and the survey; so it is enough
to keep the survey, the rows that are finished, and how many they are. The files are in the folder in
which the output is built.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from cmcr_cli.errors import OutputError
from cmcr_cli.ground.ground import Ground
from cmcr_cli.ground.references import arrays_of, references_from
from cmcr_cli.option_fields import decisive
from cmcr_cli.output.catalogue.cover import Cover
from cmcr_cli.output.claims import files_behind
from cmcr_cli.output.files import flush_to_disk, new_file
from cmcr_cli.output.parts.rows_file import checksum_of
from cmcr_cli.output.write_errors import GDAL_ERRORS, output_errors
from cmcr_cli.removal.opening.session import Session
from cmcr_cli.removal.survey.cloud_map import CloudMap
from cmcr_cli.removal.survey.first_pass import Survey
from cmcr_cli.removal.survey.reference_pass import ReferenceSurvey, SurveyedReference
from cmcr_cli.scene.readable import file_state
from cmcr_cli.version import __version__
from cmcr_cli.warning_kinds import ResumeWarning, WarningLog

STATE, SURVEY = "journal.json", "survey.npz"

SHARES = "covered_in_scene", "clear_in_scene"
"""Fields of `Survey` that are numbers."""

UNREADABLE = (*GDAL_ERRORS, EOFError, LookupError, TypeError, ValueError, zipfile.BadZipFile)
"""Errors that damaged files of a journal can cause."""


@dataclass(slots=True)
class Journal:
    """Progress of a run on disk; get one from `open_journal`.

    Attributes:
        folder: Where it is kept.
        fingerprint: Checksum of all that decides about the pixels.
        rows: Finished rows, from the top.
        survey: Result of the first pass; None: not finished.
        rasters: Finished rows and their checksum, by the key of the raster.
        sources: Reconstructed pixels of these rows, by the number of the reference that counts most.
    """

    folder: Path
    fingerprint: str
    rows: int
    survey: Survey | None
    rasters: dict[str, tuple[int, int]]
    sources: list[int]

    def keep_survey(self, survey: Survey) -> Survey:
        """Write down the result of the first pass.

        Args:
            survey: The result.

        Returns:
            The same.
        """
        arrays: dict[str, Any] = {
            "planes": survey.cloud_map.planes,
            "scene": np.array([*survey.cloud_map.phase, survey.cloud_map.width]),
            "shares": np.array([getattr(survey, name) for name in SHARES]),
            "cover": np.array([json.dumps(asdict(survey.cover))]),
            **survey.ground.arrays(),
            **_reference_arrays(survey.references),
        }
        with _replacing(self.folder / SURVEY) as file:
            np.savez(file, **arrays)
        self._save()
        return survey

    def keep_rows(self, rows: int, rasters: Mapping[str, tuple[int, int]], sources: Sequence[int]) -> None:
        """Write down that rows are finished and on disk.

        Args:
            rows: Number of rows of the image from the top.
            rasters: Finished rows and their checksum, by the key of the raster.
            sources: Reconstructed pixels of these rows, by the number of the reference that counts most.
        """
        self.rows, self.rasters, self.sources = rows, dict(rasters), list(sources)
        self._save()

    def _save(self) -> None:
        with _replacing(self.folder / STATE) as file:
            state = {
                "fingerprint": self.fingerprint,
                "rows": self.rows,
                "rasters": self.rasters,
                "sources": self.sources,
            }
            file.write(json.dumps(state).encode())

    def read(self, rasters: Mapping[str, Path]) -> bool:
        """Continue what an earlier run wrote.

        Args:
            rasters: Unfinished rasters by their keys.

        Returns:
            False if nothing fits and is complete.
        """
        try:
            state = json.loads((self.folder / STATE).read_bytes())
            if state["fingerprint"] != self.fingerprint:
                return False
            rows = int(state["rows"])
            kept = {str(key): (int(rows), int(crc)) for key, (rows, crc) in state["rasters"].items()}
            sources = [int(count) for count in state["sources"]]
            found = _read_survey(self.folder / SURVEY)
            if rows and not (
                kept.keys() == rasters.keys()
                and all(checksum_of(rasters[key], rows) == crc for key, (rows, crc) in kept.items())
            ):
                return False
        except UNREADABLE:
            return False
        self.survey, self.rows, self.rasters, self.sources = found, rows, kept, sources
        return True


def open_journal(
    folder: Path,
    about: Mapping[str, Any],
    rasters: Mapping[str, Path],
    warnings: WarningLog,
    *,
    resume: bool,
) -> Journal:
    """Open the journal of a run; the caller holds the lock of the output.

    Args:
        folder: Where the output is built.
        about: All that the pixels depend on: rows of other inputs or options are not continued.
        rasters: Unfinished rasters by their keys: if their rows have changed, they are not continued either.
        warnings: Receives one if there is nothing to continue.
        resume: Whether to continue where an earlier run was stopped.

    Returns:
        The journal.
    """
    text = json.dumps(about, sort_keys=True, default=str)
    journal = Journal(folder, hashlib.sha256(text.encode()).hexdigest(), 0, None, {}, [])
    if resume and not journal.read(rasters):
        text = (
            "--resume: no complete rows of a run with these inputs and options; starting from the beginning"
        )
        warnings.add(ResumeWarning(text))
    if journal.survey is None:
        with output_errors(folder / STATE):
            (folder / STATE).unlink(missing_ok=True)
    return journal


def fingerprint(session: Session) -> dict[str, Any]:
    """Collect all that the pixels of a removal depend on.

    Args:
        session: What is open.

    Returns:
        Values by name.
    """
    options, optical = session.options, session.optical
    images = [optical, *(each.optical for each in session.references)]
    sources = [each.source for each in images] + ([session.radar.source] if session.radar else [])
    # What only GDAL knows to be behind an input, and what is known without it.
    read = {file for source in sources for file in source.files}
    named = {*options.inputs, *read, *(each.path for each in images), *(each.scl for each in images)}
    named |= {each.mask for each in session.references}
    read |= {str(file) for name in named if name is not None for file in files_behind(name)}
    if options.mask_weights is not None:
        read |= {str(file) for file in options.mask_weights.glob("*")}
    for each in images:
        read |= set() if each.folder is None else set(map(str, Path(each.folder).rglob("*")))
    return {
        **decisive(options),
        "cmcr": __version__,
        "sun": str(optical.sun),  # as it is used, whoever stated it
        "weights": session.weights.sha256,
        "references": [[each.path, each.when, each.mask] for each in session.references],
        "devices": sorted({device.type for device in session.devices}),
        "images": [[str(each.radiometry), each.nodata, each.tags] for each in images],
        "inputs": [file_state(path) for path in sorted(read)],
        "grid": [optical.grid.describe(), optical.grid.transform, optical.grid.crs],
    }


def _read_survey(path: Path) -> Survey:
    with np.load(path, allow_pickle=False) as arrays:
        top, left, width = (int(n) for n in arrays["scene"])
        shares = {name: float(share) for name, share in zip(SHARES, arrays["shares"], strict=True)}
        cloud_map = CloudMap(arrays["planes"], (top, left), width)
        cover = Cover(**json.loads(str(arrays["cover"][0])))
        references = _references_from(arrays, cloud_map)
        return Survey(cloud_map, Ground.from_arrays(arrays), cover, **shares, references=references)


def _reference_arrays(found: ReferenceSurvey | None) -> dict[str, Any]:
    """What the passes over the references found, by name."""
    if found is None:
        return {}
    numbers = [(one.index, one.clear_share, one.error) for one in found.used]
    arrays: dict[str, Any] = {"references": np.array(numbers, np.float64).reshape(-1, 3)}
    arrays["references_unfit"] = np.array([json.dumps(found.unfit)])
    for place, one in enumerate(found.used):
        arrays[f"reference_planes_{place}"] = one.cloud_map.planes
    return {**arrays, **({} if found.fitted is None else arrays_of(found.fitted))}


def _references_from(arrays: Mapping[str, Any], scene: CloudMap) -> ReferenceSurvey | None:
    if "references" not in arrays:
        return None
    used = tuple(
        SurveyedReference(
            int(index), replace(scene, planes=arrays[f"reference_planes_{place}"]), share, error
        )
        for place, (index, share, error) in enumerate(arrays["references"].tolist())
    )
    unfit = tuple((int(index), str(why)) for index, why in json.loads(str(arrays["references_unfit"][0])))
    return ReferenceSurvey(used, references_from(arrays), unfit)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when it is complete."""
    new = path.with_name(path.name + ".new")
    try:
        with new_file(new) as file:
            yield file
        flush_to_disk(new)
        new.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error}); free some space, see -o") from error
