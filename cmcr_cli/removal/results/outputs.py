"""The files of one removal, fed together row by row."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.cog import NODATA, OBSERVED, RECONSTRUCTED, OutputSpec, StripWriter
from cmcr_cli.output.files import FileSet
from cmcr_cli.output.quicklook import Quicklook
from cmcr_cli.removal.results.html_report import Statistics
from cmcr_cli.removal.results.resume import Journal
from cmcr_cli.scene.area import Area
from cmcr_cli.scene.grid import Grid
from cmcr_cli.scene.optical import Optical
from cmcr_cli.version import __version__

TRUE_COLOUR = ("B04", "B03", "B02")


class Outputs:
    """Context manager that takes finished rows from the top down and builds what was asked for.

    Rows that `journal` knows from an earlier run are ignored; those that become safe it is told of.
    """

    def __init__(
        self,
        options: RemoveOptions,
        optical: Optical,
        tags: Mapping[str, str],
        journal: Journal,
        files: FileSet,
        area: Area | None = None,
    ) -> None:
        """Outputs on the grid of `optical`, or of the `area` of it that is wanted; `files` names them."""
        self._options, self._optical, self._journal, self._area = options, optical, journal, area
        self._files = files
        self.grid = optical.grid if area is None else area.grid
        self._known = journal.rows
        self._writers: dict[str, StripWriter] = {}
        self._tags = {"TIFFTAG_SOFTWARE": f"cmcr {__version__}", **tags}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Create the temporary files."""
        options, grid = self._options, self.grid
        with ExitStack() as stack:
            pictured = options.quicklook or options.report
            self.quicklook = Quicklook(grid.width, grid.height) if pictured else None
            self.statistics = Statistics(self._optical.names) if options.report else None
            spec = image_spec(options, self._optical, self.grid, self._tags)
            self._image = stack.enter_context(self._writer("--output", spec))
            self._provenance = self._uncertainty = None
            if options.provenance:
                spec = self._provenance_spec(options.provenance)
                self._provenance = stack.enter_context(self._writer("--provenance", spec))
            if options.uncertainty:
                spec = self._uncertainty_spec(options.uncertainty)
                self._uncertainty = stack.enter_context(self._writer("--uncertainty", spec))
            self._stack = stack.pop_all()
        return self

    def write(
        self,
        top: int,
        before: NDArray[Any],
        after: NDArray[Any],
        provenance: NDArray[np.uint8],
        deviation: NDArray[np.float32] | None,
    ) -> None:
        """Append rows from row `top`: DN before and after (bands, rows, width), provenance, spread.

        The spread is in reflectance.
        """
        if self._area is not None:
            top, rows, columns, inside = self._area.part(top, len(provenance))
            if not inside.size:
                return
            before, after = before[:, rows, columns], after[:, rows, columns]
            empty = 0 if self._optical.nodata is None else self._optical.nodata
            after = np.where(inside, after, np.asarray(empty, after.dtype))
            provenance = np.where(inside, provenance[rows, columns], np.uint8(NODATA))
            deviation = None if deviation is None else deviation[:, rows, columns]
        new = (slice(None), slice(max(self._known - top, 0), None))
        self._image.write(after[new])
        if self._provenance is not None:
            self._provenance.write(provenance[None][new])
        if self._uncertainty is not None and deviation is not None:
            shown = np.where(provenance == RECONSTRUCTED, deviation, np.float32(0))
            self._uncertainty.write(np.where(provenance >= OBSERVED, shown, np.float32(np.nan))[new])
        self._show(top, before, after, provenance)
        if self._image.written > self._journal.rows:
            for writer in self._writers.values():
                writer.checkpoint()
            checksums = {option: writer.checksum for option, writer in self._writers.items()}
            self._journal.keep_rows(self._image.written, checksums)

    def show_again(self, top: int, before: NDArray[Any], provenance: NDArray[np.uint8]) -> None:
        """Put rows into the pictures that an earlier run has written."""
        if self._area is not None:
            top, rows, columns, inside = self._area.part(top, len(provenance))
            before = before[:, rows, columns]
            provenance = np.where(inside, provenance[rows, columns], np.uint8(NODATA))
        if provenance.size:
            self._show(top, before, self._image.read(top, len(provenance)), provenance)

    def _show(
        self, top: int, before: NDArray[Any], after: NDArray[Any], provenance: NDArray[np.uint8]
    ) -> None:
        if self.statistics is not None:
            self.statistics.add(self._optical, before, after, provenance)
        if self.quicklook is not None:
            rgb = [self._optical.names.index(name) for name in TRUE_COLOUR]
            old, new = (self._optical.radiometry.reflectance(dn[rgb]) for dn in (before, after))
            self.quicklook.add(top, old, new, provenance)

    def _writer(self, option: str, spec: OutputSpec) -> StripWriter:
        checksum = self._journal.checksums.get(option, 0)
        writer = StripWriter(spec, self._files, resumed=self._known, checksum=checksum)
        self._writers[option] = writer
        return writer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish all files, unless an exception is on its way."""
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:  # which must learn of a picture that fails
            if self.quicklook is not None and self._options.quicklook is not None:
                self.quicklook.write(self._options.quicklook, self._files)

    def _provenance_spec(self, path: Path) -> OutputSpec:
        return OutputSpec(
            path=path,
            grid=self.grid,
            count=1,
            dtype="uint8",
            nodata=NODATA,
            descriptions=("provenance",),
            tags={**self._tags, "CMCR_VALUES": "0 nodata, 1 observed, 2 reconstructed"},
            categorical=True,
        )

    def _uncertainty_spec(self, path: Path) -> OutputSpec:
        names = self._optical.names
        return OutputSpec(
            path=path,
            grid=self.grid,
            count=len(names),
            dtype="float32",
            nodata=float("nan"),
            descriptions=tuple(f"std_{name}" for name in names),
            tags={**self._tags, "CMCR_VALUES": "standard deviation of the samples in reflectance"},
        )


def image_spec(options: RemoveOptions, optical: Optical, grid: Grid, tags: Mapping[str, str]) -> OutputSpec:
    """The image is stored as the input was, so that clear pixels can be the very same DN."""
    return OutputSpec(
        path=options.output,
        grid=grid,
        count=len(optical.names),
        dtype=str(optical.dtype),
        nodata=optical.nodata,
        descriptions=optical.names,
        scales=optical.scales,
        offsets=optical.offsets,
        tags={**optical.tags, **tags},
        creation_options=options.creation_options,
    )
