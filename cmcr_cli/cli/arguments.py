"""Options of the commands, besides those that are fields of `RemoveOptions`.

Ranges and contradictions are checked by the library, so that its Python users get the same messages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Option

from cmcr_cli.cli.from_fields import shown_as
from cmcr_cli.options import COLUMNS, UNNAMED_COLUMNS


def numbers(text: str) -> tuple[int, ...]:
    """Read a list of numbers of steps.

    Args:
        text: Whole numbers with commas between.

    Returns:
        The numbers.

    Raises:
        BadParameter: It is not such a list.
    """
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise BadParameter(f"--steps {text!r}: expected whole numbers with commas between, as in 1,2,4.")
    return tuple(map(int, words))


# of remove, batch and mask, besides the fields of RemoveOptions
MaskOutput = Annotated[
    Path,
    Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Mask to write: 0 clear, 1 thick cloud, 2 thin cloud or cirrus, 3 shadow, 255 nodata.",
    ),
]
Confidence = Annotated[
    Path | None,
    Option(metavar="PATH", help="Raster to write: probability that the mask is correct, in per cent."),
]
Scenes = Annotated[
    str,
    Argument(
        metavar="SCENES",
        help="List of scenes: CSV, JSON lines, a STAC ItemCollection or its address, or - for stdin. "
        f"Columns: {', '.join(UNNAMED_COLUMNS)}, of which only s2 is required; or, with a heading or as "
        "keys, any of "
        f"{', '.join(COLUMNS)}.",
    ),
]
Folder = Annotated[Path, Option("--output", "-o", metavar="DIR", help="Folder of the images to write.")]
SkipExisting = Annotated[
    bool, Option("--skip-existing", help="Skip scenes whose output is complete, as --resume does too.")
]
FromBatch = Annotated[
    int | None,
    Option(
        metavar="DAYS",
        help="Use the other scenes of the list as references of each, where they overlap and are no more "
        "days away.",
    ),
]
Scheduler = Annotated[
    str | None, Option(metavar="ADDRESS", help="Dask scheduler whose workers compute the scenes.")
]
Retries = Annotated[
    int,
    Option(help="With --scheduler: how often to try a scene again after a temporary error or a lost worker."),
]
DryRun = Annotated[
    bool, Option("--dry-run", help="Print what would be done, and the time, memory and disk needed.")
]

# of several commands
Overwrite = Annotated[bool, shown_as("overwrite")]
Bands = Annotated[str | None, shown_as("bands")]
Weights = Annotated[Path | None, shown_as("weights")]
Device = Annotated[str, shown_as("device", metavar="auto|cpu|cuda|cuda:N|mps", help="Where to compute.")]
OfInfo = Annotated[str | None, shown_as("s2")]
Verify = Annotated[
    Path | None, Option(metavar="PATH", help="Fail unless this output was made with these weights.")
]

# what is printed
Json = Annotated[bool, Option("--json", help="Print one JSON object to stdout.")]
Verbose = Annotated[
    int, Option("--verbose", "-v", count=True, show_default=False, help="Print more messages; repeatable.")
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print errors only.")]

# simulation and validation
OutDir = Annotated[Path, Argument(help="Folder for s2.tif, s1.tif, truth.tif and mask.tif.")]
Size = Annotated[int, Option(metavar="N", help="Pixels along each side.")]
SceneSeed = Annotated[int, Option("--seed", help="Seed of the scene; every seed is another scene.")]
CloudCover = Annotated[
    float,
    Option(
        metavar="F",
        help="Approximate share of a large scene under cloud, without shadows, 0 to 1; small scenes vary.",
    ),
]
Dates = Annotated[
    int, Option(metavar="N", help="Number of earlier dates of the same ground, at gaps of 5 to 35 days.")
]
Made = Annotated[str, Argument(metavar="OUTPUT", help="Image written by cmcr remove.")]
Source = Annotated[str | None, Option(metavar="S2", help="Sentinel-2 scene from which it was made.")]
MadeProvenance = Annotated[
    str | None, Option("--provenance", metavar="PATH", help="Provenance raster written with it.")
]

# training
Data = Annotated[Path, Argument(help="Folder of training scenes, or the word simulated.")]
SplitRule = Annotated[
    Literal["exact", "legacy"],
    Option(
        help="Split of SEN12MS-CR: exact, by ROI; or legacy, as in most papers, with test places in training."
    ),
]
RunDir = Annotated[
    Path, Option(metavar="DIR", help="Folder of the run; a run with a checkpoint in it is continued.")
]
Init = Annotated[Path | None, Option(metavar="WEIGHTS", help="Weights to start from; default: random ones.")]
Teacher = Annotated[Path, Option(metavar="WEIGHTS", help="Weights of the teacher.")]
TrainingDryRun = Annotated[
    bool,
    Option(
        "--dry-run", help="Print the recipe, the data found, the network and the run time; write nothing."
    ),
]

# evaluation
Split = Annotated[Literal["train", "val", "test"], Option(help="Images to score.")]
StepList = Annotated[
    str, Option("--steps", metavar="N,N,...", help="Numbers of network evaluations to compare.")
]
MeanSamples = Annotated[int, Option("--samples", help="Images to draw and average for the row of the mean.")]
Limit = Annotated[int | None, Option(metavar="N", help="Score N images, evenly spread over the split.")]
Only = Annotated[
    Literal["restoration", "clouds", "masks", "references"] | None,
    Option(
        help="Score one part only: restored images, the cloud network on the split, labelled masks, or "
        "series with references."
    ),
]
HeldOut = Annotated[
    list[Path] | None,
    Option(
        "--held-out",
        metavar="WEIGHTS",
        help="Weights trained without one fold of places, used for the masks of that fold; repeatable.",
    ),
]
