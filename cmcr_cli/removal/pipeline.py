"""One removal from end to end. Read this first: every step is one call."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from cmcr_cli.ground.coregistration import Alignment
from cmcr_cli.options import RemoveOptions
from cmcr_cli.output.catalogue.cover import per_cent
from cmcr_cli.removal.opening.opened import Model
from cmcr_cli.removal.opening.session import Progress, Session, open_session
from cmcr_cli.removal.restore.budget import Budget
from cmcr_cli.removal.restore.plan import plan_patches
from cmcr_cli.removal.restore.second_pass import restore
from cmcr_cli.removal.results.native import area_to_compute
from cmcr_cli.removal.results.outputs import open_outputs
from cmcr_cli.removal.results.report import Report
from cmcr_cli.removal.survey.first_pass import Survey, survey
from cmcr_cli.removal.survey.mask_choice import key_of_scene
from cmcr_cli.removal.survey.radar_check import check_radar
from cmcr_cli.removal.survey.reference_pass import ReferenceMasks, survey_references
from cmcr_cli.runtime.allocator import trim_heap
from cmcr_cli.warning_kinds import ClearGroundWarning, NoRadarWarning, ReferenceWarning

log = logging.getLogger("cmcr")


class Clock:
    """Seconds that the stages of a removal take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def stop(self, stage: str) -> None:
        """State that a stage is over.

        Args:
            stage: Name of the stage.
        """
        now = time.monotonic()
        self.seconds[stage], self._last = round(now - self._last, 2), now


def remove(
    options: RemoveOptions, progress: Progress = lambda stage, done: None, *, model: Model | None = None
) -> Report:
    """Remove the clouds of one scene and write the outputs that `options` name.

    Args:
        options: Inputs, outputs and settings.
        progress: Called with the stage and the part of it that is done, 0 to 1.
        model: From `load_model`. It saves loading the weights for every scene, and wins over the weights and
            the device of `options`.

    Returns:
        What was done.

    Raises:
        CmcrError: Anything is wrong; no output is left behind.
    """
    clock = Clock()
    with open_session(options, model) as session:
        Budget.of(session).check()
        # The outputs are opened before the long work, so that what is wrong with them shows at once.
        with open_outputs(session) as outputs:
            clock.stop("open")
            found = outputs.journal.survey or outputs.journal.keep_survey(survey_scene(session, progress))
            alignment = alignment_of_radar(session, found)
            clock.stop("survey")
            plan = plan_patches(session.optical.grid, found.cloud_map, area_to_compute(session), options)
            start, again = outputs.finished, outputs.quicklook is not None
            for strip in restore(session, found, plan, start, again=again, progress=progress):
                outputs.write(strip)
            clock.stop("restore")
            progress("write", 0.0)
            outputs.finish(found.cover)
            clock.stop("write")
            progress("write", 1.0)
            report = Report.of(session, found, alignment, plan, clock.seconds, outputs.sources.tolist())
            outputs.describe(report)
            return report


def alignment_of_radar(session: Session, found: Survey) -> Alignment | None:
    """Measure how far the radar is shifted against the scene. What the first pass had in memory is freed.

    Args:
        session: What is open; its list of warnings may grow.
        found: Result of the first pass.

    Returns:
        The shift; None: not measured.

    Raises:
        GridMismatchError: The shift is large or unknown, and `--align strict` was given.
    """
    opened = session.optical, session.radar, found.cloud_map, session.options.align
    alignment = check_radar(*opened, session.workers.map, session.warnings)
    trim_heap()
    return alignment


def survey_scene(session: Session, progress: Progress) -> Survey:
    """Run the first pass over an open scene.

    Args:
        session: What is open; its list of warnings may grow.
        progress: Called with the stage "survey" and the part of it that is done.

    Returns:
        What was found.
    """
    options, optical, weights = session.options, session.optical, session.weights
    if session.radar is None:
        known = "the scene's own colours" + (" and the references" if session.references else "")
        text = f"no Sentinel-1: under thick cloud, only {known} tell what the ground may be"
        session.warnings.add(NoRadarWarning(text))
    found = survey(
        optical,
        session.radar,
        session.mask,
        learn=options.context,
        keep_clear=options.keep_clear,
        area=session.area,
        each=session.workers.map,
        progress=lambda done: progress("survey", done),
    )
    own_key = key_of_scene(optical, options)
    if own_key is not None:
        session.masks.keep(own_key, found.cloud_map, found.clear_in_scene)
    log.info("%s of the valid pixels of the scene covered", per_cent(found.covered_in_scene))
    if found.covered_in_scene > 0.98 and options.context:
        text = "less than 2 % of the scene is clear: its colours come in part or wholly from other places"
        session.warnings.add(ClearGroundWarning(text))
    if not session.references:
        return found
    references = survey_references(
        optical,
        session.radar,
        found.cloud_map,
        found.ground,
        session.references,
        ReferenceMasks(options, weights.clouds, session.masks),
        each=session.workers.map,
        progress=lambda done: progress("references", done),
    )
    for index, why in references.unfit:
        session.warnings.add(ReferenceWarning(f"reference {session.references[index].label}: {why}"))
    return replace(found, references=references)
