"""The files of one removal, fed together strip by strip."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.option_paths import file_name
from cmcr_cli.output.catalogue.cover import COVER_TAG, Cover
from cmcr_cli.output.cog import StripWriter, rows_of
from cmcr_cli.output.cog_spec import OutputSpec
from cmcr_cli.output.files import FileSet
from cmcr_cli.output.lock import locked
from cmcr_cli.output.provenance import NODATA, RECONSTRUCTED
from cmcr_cli.output.quicklook import Quicklook
from cmcr_cli.removal.opening.native_files import NATIVE_TAG
from cmcr_cli.removal.opening.session import Session
from cmcr_cli.removal.restore.second_pass import FinishedStrip
from cmcr_cli.removal.results.native import NativeBands, grouped
from cmcr_cli.removal.results.rasters import RASTERS, Setting
from cmcr_cli.removal.results.report import Report
from cmcr_cli.removal.results.resume import Journal, fingerprint, open_journal
from cmcr_cli.removal.results.sidecars import describe
from cmcr_cli.removal.results.statistics import Statistics
from cmcr_cli.scene.area import Area
from cmcr_cli.scene.span import Span
from cmcr_cli.version import __version__

TRUE_COLOUR = ("B04", "B03", "B02")


class Outputs:
    """Context manager that takes finished rows from the top down and builds what was asked for.

    Rows that the journal knows from an earlier run are ignored; those that become safe are entered there.
    """

    def __init__(self, session: Session, journal: Journal, files: FileSet) -> None:
        """Outputs of which nothing is opened yet.

        Args:
            session: What is open.
            journal: How far an earlier run has come.
            files: Gives the files their names.
        """
        self.journal = journal
        self._options, self._optical, self._area = session.options, session.optical, session.area
        self._files = files
        grid = session.optical.grid if session.area is None else session.area.grid
        references = tuple(f"{each.when} {each.label}" for each in session.references)
        self._setting = Setting(
            session.options, session.optical, grid, _tags(session), references, session.native
        )
        self._native = [NativeBands(files, self._setting, self._area) for files in grouped(session.native)]
        self._known = journal.rows
        self._writers: dict[str, StripWriter] = {}
        self._stack = ExitStack()
        # Reconstructed pixels by the number of the reference that counts most.
        self.sources = np.zeros(len(session.references) + 1, np.int64)
        self.sources[: len(journal.sources)] = journal.sources

    def __enter__(self) -> Self:
        """Create the temporary files."""
        options, grid = self._options, self._setting.grid
        with ExitStack() as stack:
            pictured = options.quicklook or options.report
            self.quicklook = Quicklook(grid.width, grid.height) if pictured else None
            self.statistics = Statistics(self._optical.names) if options.report else None
            for raster in RASTERS:
                if (path := options.outputs.get(raster.option)) is not None:
                    spec = raster.spec(self._setting, path)
                    self._writers[raster.option] = stack.enter_context(self._writer(raster.option, spec))
            for bands in self._native:
                keyed = [(file.key, spec) for file, spec in zip(bands.files, bands.specs, strict=True)]
                writers = [stack.enter_context(self._writer(key, spec)) for key, spec in keyed]
                bands.begin(writers, writers[0].written)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the files; what was not finished is not left behind."""
        self._stack.__exit__(kind, error, trace)

    def _writer(self, key: str, spec: OutputSpec) -> StripWriter:
        rows, checksum = self.journal.rasters.get(key, (0, 0))
        return StripWriter(spec, self._files, resumed=rows, checksum=checksum)

    @property
    def finished(self) -> int:
        """Rows of the scene that an earlier run has written to all rasters."""
        above = 0 if self._area is None else self._area.top
        rows = self._known and above + self._known
        return min([rows, *(each.needed_from for each in self._native)])

    def write(self, strip: FinishedStrip) -> None:
        """Append finished rows; those that are written already are only shown.

        Args:
            strip: The rows.
        """
        original = self._optical.original
        if original is not None and strip.after is not None:
            new_pixels = strip.provenance >= RECONSTRUCTED
            strip = replace(strip, stored=original.with_new(strip.rows.start, strip.after, new_pixels))
        if strip.after is not None:
            for bands in self._native:
                bands.add(strip, strip.after if strip.stored is None else strip.stored)
        if self._area is not None:
            cropped = self._cropped(strip, self._area)
            if cropped is None:
                return
            strip = cropped
        if strip.after is None:
            image = self._writers[RASTERS[0].option]
            known = image.read(strip.rows.start, strip.rows.size)
            self._show(strip, known if original is None else original.dn(known))
            return
        new = (slice(None), slice(max(self._known - strip.rows.start, 0), None))
        for raster in RASTERS:
            pixels = raster.pixels(strip) if raster.option in self._writers else None
            if pixels is not None:
                valid = strip.provenance[new[1]] != NODATA
                self._writers[raster.option].write(pixels[new], valid)
        if strip.source is not None:
            source = strip.source[new[1]][strip.provenance[new[1]] >= RECONSTRUCTED]
            self.sources += np.bincount(source, minlength=len(self.sources))
        self._show(strip, strip.after)
        written = self._writers[RASTERS[0].option].written
        if written > self.journal.rows:
            kept: dict[str, tuple[int, int]] = {}
            for option, writer in self._writers.items():
                writer.checkpoint()
                kept[option] = writer.written, writer.checksum
            for bands in self._native:
                kept |= bands.checkpoint()
            self.journal.keep_rows(written, kept, self.sources.tolist())

    def finish(self, cover: Cover) -> None:
        """Complete the rasters and the quicklook.

        Args:
            cover: Shares that the first pass found.
        """
        with self._stack:  # which must learn of a picture that fails
            tags = {COVER_TAG: cover.restored(self.sources.tolist()).tag()}
            for writer in (*self._writers.values(), *(w for bands in self._native for w in bands.writers)):
                writer.add_tags(tags)
            if self.quicklook is not None and self._options.quicklook is not None:
                self.quicklook.write(self._options.quicklook, self._files)

    def describe(self, report: Report) -> None:
        """Add the HTML report and the STAC item, as far as they are asked for.

        Args:
            report: What was done.

        Raises:
            OutputError: One cannot be written.
        """
        look = (
            None if self.quicklook is None or self.statistics is None else (self.quicklook, self.statistics)
        )
        describe(self._setting, report, look, self._files)

    def _cropped(self, strip: FinishedStrip, area: Area) -> FinishedStrip | None:
        """The part of a strip that is in the area of interest; None where there is none."""
        top, rows, columns, inside = area.part(strip.rows.start, strip.rows.size)
        if not inside.size:
            return None
        after, stored = None, None
        if strip.after is not None:
            after = strip.after[:, rows, columns]
            after = np.where(inside, after, np.asarray(self._optical.empty, after.dtype))
        if strip.stored is not None and self._optical.original is not None:
            stored = strip.stored[:, rows, columns]
            stored = np.where(inside, stored, np.asarray(self._optical.original.nodata or 0, stored.dtype))
        return replace(
            strip,
            rows=Span(top, top + len(inside)),
            before=strip.before[:, rows, columns],
            after=after,
            provenance=np.where(inside, strip.provenance[rows, columns], np.uint8(NODATA)),
            std=None if strip.std is None else strip.std[:, rows, columns],
            source=None if strip.source is None else strip.source[rows, columns],
            stored=stored,
        )

    def _show(self, strip: FinishedStrip, after: NDArray[Any]) -> None:
        if self.statistics is not None:
            self.statistics.add(self._optical, strip.before, after, strip.provenance)
        if self.quicklook is not None:
            rgb = [self._optical.names.index(name) for name in TRUE_COLOUR]
            old, new = (self._optical.radiometry.reflectance(dn[rgb]) for dn in (strip.before, after))
            self.quicklook.add(strip.rows.start, old, new, strip.provenance)


@contextmanager
def open_outputs(session: Session) -> Iterator[Outputs]:
    """Lock the outputs of a removal and create their temporary files.

    Args:
        session: What is open.

    Yields:
        The outputs; they bear their names when the context is left without an exception.

    Raises:
        OutputError: They cannot be written, or another run writes them.
        OptionError: GDAL refuses the creation options.
    """
    options = session.options
    paths = [*options.outputs.values(), *(each.path for each in session.native)]
    with (
        locked(paths),
        FileSet(paths, overwrite=options.overwrite, kept=options.resume) as files,
    ):
        named = {**options.rasters, **{each.key: each.path for each in session.native}}
        rasters = {name: rows_of(files, path) for name, path in named.items()}
        folder = files.part(options.output).parent
        journal = open_journal(folder, fingerprint(session), rasters, session.warnings, resume=options.resume)
        with Outputs(session, journal, files) as outputs:
            yield outputs


def _tags(session: Session) -> dict[str, str]:
    """Tags that every raster has."""
    options, optical = session.options, session.optical
    radar = [file_name(path) for path in (options.s1, options.s1_vv, options.s1_vh) if path is not None]
    return {
        "TIFFTAG_SOFTWARE": f"cmcr {__version__}",
        "CMCR_WEIGHTS": session.weights.label,
        "CMCR_WEIGHTS_SHA256": session.weights.sha256,
        "CMCR_STEPS": str(options.steps),
        "CMCR_SAMPLES": str(options.samples),
        "CMCR_SEED": str(options.seed),
        "CMCR_OFFSET": f"{optical.radiometry.offset:g} ({optical.offset_source})",
        **({} if options.scale is None else {"CMCR_SCALE": f"{options.scale:g}"}),
        **({"CMCR_BANDS": "taken for these by number and order"} if optical.guessed else {}),
        "CMCR_INPUTS": session.inputs.tag(),
        "CMCR_MASK": file_name(options.mask),
        "CMCR_DILATE": f"{options.dilate:g}",
        "CMCR_S2": file_name(options.s2),
        **({} if session.area is None else {"CMCR_AREA": session.area.name}),
        **({NATIVE_TAG: ", ".join(each.path.name for each in session.native)} if session.native else {}),
        "CMCR_S1": ", ".join(radar) or "none",
    }
