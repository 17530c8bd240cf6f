"""Report of a removal, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from cmcr_cli.ground.coregistration import Alignment
from cmcr_cli.removal.opening.session import Session
from cmcr_cli.removal.restore.plan import Plan
from cmcr_cli.removal.survey.first_pass import Survey
from cmcr_cli.warning_kinds import CmcrWarning


@dataclass(frozen=True, slots=True)
class Report:
    """Report of a removal, for people and for `--json`."""

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
    radar_shift: tuple[float, float] | None  # measured, metres to the east and north; None: not measured
    width: int
    height: int
    valid_share: float
    covered_share: float
    patches: int
    patches_restored: int
    seconds: dict[str, float]
    warnings: tuple[CmcrWarning, ...]

    @classmethod
    def of(
        cls,
        session: Session,
        survey: Survey,
        alignment: Alignment | None,
        plan: Plan,
        seconds: dict[str, float],
    ) -> Report:
        """Make the report of a removal.

        Args:
            session: What was open.
            survey: What the first pass found.
            alignment: The measured shift of the radar.
            plan: The patches.
            seconds: That each stage took.

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
            radar_shift=None if alignment is None else (round(alignment.east, 1), round(alignment.north, 1)),
            width=grid.width,
            height=grid.height,
            valid_share=survey.valid_share,
            covered_share=survey.covered_share,
            patches=plan.patches,
            patches_restored=plan.patches_to_restore,
            seconds=seconds,
            warnings=tuple(session.warnings),
        )
