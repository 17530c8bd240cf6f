"""Report of a removal, as one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cmcr_cli.addresses import public
from cmcr_cli.ground.coregistration import Alignment
from cmcr_cli.output.catalogue.cover import Cover
from cmcr_cli.output.inputs import Inputs
from cmcr_cli.removal.opening.session import Session
from cmcr_cli.removal.restore.plan import Plan
from cmcr_cli.removal.results.notebook import html_table
from cmcr_cli.removal.survey.first_pass import Survey
from cmcr_cli.scene.references.listing import LeftOut
from cmcr_cli.warning_kinds import CmcrWarning


@dataclass(frozen=True, slots=True)
class ReportedReference:
    """A reference that was used.

    Attributes:
        path: As it was given, without secrets.
        date: When it was taken, YYYY-MM-DD; None: not known.
        days: From the scene to it, negative where it is earlier; None: not known.
        shift: Where it was found as seen from the scene, metres to the east and north; half a pixel or more
            was undone. None: not measured.
        clear_share: Part of the scene that it shows clear, 0 to 1.
        weight: Part of the reconstructed pixels for which it counts most, 0 to 1; None in an estimate.
        expected_error: Root mean square error of a prediction from it alone on clear ground that was left out
            of the fit, as a part of the standard deviation of the clear ground.
    """

    path: str
    date: str | None
    days: int | None
    shift: tuple[float, float] | None
    clear_share: float
    weight: float | None
    expected_error: float


@dataclass(frozen=True, slots=True)
class Report:
    """Report of a removal, for people and for `--json`.

    Attributes:
        output: Path of the image.
        weights: Name of the weights and the start of their checksum.
        device: The devices that computed, as for `--device`.
        steps: Steps per patch.
        samples: Number of draws that were averaged.
        seed: Seed of the noise.
        level: L1C or L2A.
        offset: Added to DN before the division by the quantification.
        offset_source: What stated the offset.
        radar: Whether there was Sentinel-1.
        radar_shift: Measured shift of the radar, metres to the east and north; None: not measured.
        width: Columns of the scene.
        height: Rows of the scene.
        valid_share: Pixels that hold a measurement, 0 to 1 of all; as in `cover`.
        covered_share: Covered pixels, 0 to 1 of the valid ones; as in `cover`.
        cover: All shares.
        patches: Number of patches of the scene.
        patches_restored: Patches in which something was replaced.
        seconds: Seconds by stage.
        references: The references that were used.
        references_left_out: Those that were not, and why.
        warnings: What the run warned of.
        inputs: The inputs as they were understood.
        native: Paths of the files of `--native`.
    """

    output: str
    weights: str
    device: str
    steps: int
    samples: int
    seed: int
    level: str
    offset: float
    offset_source: str
    radar: bool
    radar_shift: tuple[float, float] | None
    width: int
    height: int
    valid_share: float
    covered_share: float
    cover: Cover
    patches: int
    patches_restored: int
    seconds: dict[str, float]
    references: tuple[ReportedReference, ...]
    references_left_out: tuple[LeftOut, ...]
    warnings: tuple[CmcrWarning, ...]
    inputs: Inputs
    native: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The outcome in one line."""
        return (
            f"Report({self.output}: {self.covered_share:.0%} covered, {self.patches_restored} of "
            f"{self.patches} patches restored, {sum(self.seconds.values()):.1f} s)"
        )

    def _repr_html_(self) -> str:
        """The outcome as a table, for notebooks."""
        dates = [f"{each.date or 'unknown date'} ({each.weight or 0:.0%})" for each in self.references]
        rows = (
            ("size", f"{self.width} x {self.height} px, {self.valid_share:.1%} valid"),
            ("covered", f"{self.covered_share:.1%}"),
            ("restored", f"{self.patches_restored} of {self.patches} patches"),
            ("level", f"{self.level}, offset {self.offset:g} DN ({self.offset_source})"),
            ("radar", "used" if self.radar else "none"),
            ("references", ", ".join(dates) or "none"),
            ("made with", f"{self.weights} on {self.device}, steps {self.steps}, samples {self.samples}"),
            ("seconds", ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in self.seconds.items())),
        )
        return html_table(self.output, rows, self.warnings)

    @classmethod
    def of(
        cls,
        session: Session,
        survey: Survey,
        alignment: Alignment | None,
        plan: Plan,
        seconds: dict[str, float],
        sources: Sequence[int],
    ) -> Report:
        """Make the report of a removal.

        Args:
            session: What was open.
            survey: What the first pass found.
            alignment: The measured shift of the radar.
            plan: The patches.
            seconds: That each stage took.
            sources: Reconstructed pixels by the number of the reference that counts most, 0 for none.

        Returns:
            The report.
        """
        options, optical = session.options, session.optical
        grid = optical.grid if session.area is None else session.area.grid
        return cls(
            output=str(options.output),
            weights=session.weights.label,
            device=session.device,
            steps=options.steps,
            samples=options.samples,
            seed=options.seed,
            level=optical.level,
            offset=optical.radiometry.offset,
            offset_source=optical.offset_source,
            radar=session.radar is not None,
            radar_shift=None if alignment is None else _rounded(alignment.ground),
            width=grid.width,
            height=grid.height,
            valid_share=survey.cover.valid,
            covered_share=survey.cover.covered,
            cover=survey.cover.restored(sources),
            patches=plan.patches,
            patches_restored=plan.patches_to_restore,
            seconds=seconds,
            references=used_references(session, survey, sources),
            references_left_out=left_out_references(session, survey),
            warnings=tuple(session.warnings),
            inputs=session.inputs,
            native=tuple(str(each.path) for each in session.native),
        )


def used_references(
    session: Session, survey: Survey, sources: Sequence[int]
) -> tuple[ReportedReference, ...]:
    """Describe the references that are used.

    Args:
        session: What is open.
        survey: What the first passes found.
        sources: Reconstructed pixels by the number of the reference that counts most, 0 for none; empty
            before there are any.

    Returns:
        Path, date and share of each, in the order of their numbers.
    """
    used = () if survey.references is None else survey.references.used
    total = max(sum(sources), 1)
    found = []
    for one in used:
        reference = session.references[one.index]
        found.append(
            ReportedReference(
                path=public(reference.path),
                date=None if reference.date is None else reference.date.isoformat(),
                days=reference.days,
                shift=_rounded(reference.shift),
                clear_share=one.clear_share,
                weight=sources[one.index + 1] / total if sources else None,
                expected_error=round(one.error, 3),
            )
        )
    return tuple(found)


def _rounded(shift: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if shift is None else (round(shift[0], 1), round(shift[1], 1))


def left_out_references(session: Session, survey: Survey) -> tuple[LeftOut, ...]:
    """List the references that are not used, and why.

    Args:
        session: What is open.
        survey: What the first passes found.

    Returns:
        Paths and reasons, without secrets.
    """
    unfit = () if survey.references is None else survey.references.unfit
    late = (LeftOut(session.references[index].path, why) for index, why in unfit)
    found = (*session.references_left_out, *late)
    return tuple(LeftOut(public(each.path), public(each.reason)) for each in found)
