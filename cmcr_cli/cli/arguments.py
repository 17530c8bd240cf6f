"""Every option of every command, stated once: its names, its help, and what it may be.

Ranges and contradictions are checked by the library, so that its Python users get the same messages.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, BadParameter, Option

from cmcr_cli.scene.masks.mask_codes import help_text

if TYPE_CHECKING:
    from cmcr_cli.scene.sun import Sun


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal():
        raise BadParameter(f"{text!r} is neither 'auto' nor a number.")
    return int(text)


def bounds(text: str | None) -> tuple[float, float, float, float] | None:
    """What `Bbox` says; BadParameter when it is not four numbers."""
    if text is None:
        return None
    try:
        west, south, east, north = (float(word) for word in text.split(","))
    except ValueError:
        raise BadParameter(
            f"--bbox {text!r}: expected west,south,east,north in degrees, as in 4.6,53.1,4.8,53.2."
        ) from None
    return west, south, east, north


def sun_angles(text: str | None) -> Sun | None:
    """What `SunAngles` says; BadParameter when it is not two numbers, OptionError for impossible angles."""
    if text is None:
        return None
    from cmcr_cli.scene.sun import Sun

    try:
        azimuth, elevation = (float(word) for word in text.split(","))
    except ValueError:
        raise BadParameter(
            f"--sun {text!r}: expected AZIMUTH,ELEVATION in degrees, as in 152.3,41.0."
        ) from None
    return Sun(azimuth, elevation)


def names(text: str | None) -> tuple[str, ...] | None:
    """What `Bands` lists."""
    return None if text is None else tuple(text.split(","))


def numbers(text: str) -> tuple[int, ...]:
    """What `StepList` lists; BadParameter when it is not a list of numbers."""
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise BadParameter(f"--steps {text!r}: expected whole numbers with commas between, as in 1,2,4.")
    return tuple(map(int, words))


# inputs and outputs
S2 = Annotated[
    str,
    Argument(metavar="S2", help="Sentinel-2: .SAFE folder or zip, STAC item, or stack; any path GDAL knows."),
]
S1 = Annotated[
    str | None,
    Argument(metavar="S1", help="Sentinel-1 VV and VH, in any grid, or STAC item; may be left out."),
]
S1VV = Annotated[
    str | None, Option("--s1-vv", metavar="PATH", help="Sentinel-1 VV in a file of its own, in place of S1.")
]
S1VH = Annotated[str | None, Option("--s1-vh", metavar="PATH", help="Sentinel-1 VH, with --s1-vv.")]
Output = Annotated[Path, Option("--output", "-o", help="Image to write: a COG on the grid of S2.")]
MaskOutput = Annotated[
    Path,
    Option(
        "--output",
        "-o",
        help="Mask to write: 0 clear, 1 thick cloud, 2 thin cloud or cirrus, 3 shadow, 255 nodata.",
    ),
]
Confidence = Annotated[
    Path | None,
    Option(metavar="PATH", help="Raster to write: how likely the mask is right, in per cent."),
]
Provenance = Annotated[
    Path | None, Option(help="Raster to write: 0 nodata, 1 observed, 2 reconstructed.", metavar="PATH")
]
Uncertainty = Annotated[
    Path | None,
    Option(help="Raster to write: spread of the samples per band, in reflectance.", metavar="PATH"),
]
Quicklook = Annotated[
    Path | None, Option(help="Picture to write: before, after, what changed.", metavar="PATH.png")
]
HtmlReport = Annotated[
    Path | None, Option(help="Page to write: before and after, statistics, settings.", metavar="PATH.html")
]
Stac = Annotated[Path | None, Option(help="STAC item to write.", metavar="PATH.json")]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace outputs that exist.")]
Resume = Annotated[
    bool, Option("--resume", help="Keep what is done when stopped, and go on there when started again.")
]
CreationOptions = Annotated[
    list[str] | None,
    Option("--co", metavar="NAME=VALUE", help="GDAL creation option of the COG; repeatable."),
]

# many scenes
Scenes = Annotated[str, Argument(metavar="SCENES", help="CSV of scenes; - reads it from stdin.")]
Folder = Annotated[Path, Option("--output", "-o", metavar="DIR", help="Folder of the images to write.")]
SkipExisting = Annotated[bool, Option("--skip-existing", help="Leave out scenes whose output exists.")]
Scheduler = Annotated[
    str | None, Option(metavar="ADDRESS", help="Dask scheduler that the scenes are given to.")
]
Retries = Annotated[
    int, Option(help="How often a scene is tried again after an error that may pass; for --scheduler.")
]
WithProvenance = Annotated[bool, Option("--provenance", help="Write NAME_clear_provenance.tif too.")]
WithUncertainty = Annotated[bool, Option("--uncertainty", help="Write NAME_clear_uncertainty.tif too.")]
WithReport = Annotated[bool, Option("--report", help="Write NAME_clear_report.html too.")]
WithStac = Annotated[bool, Option("--stac", help="Write NAME_clear_stac.json too.")]
WithQuicklook = Annotated[bool, Option("--quicklook", help="Write NAME_clear_quicklook.png too.")]

# what is removed, and how
Steps = Annotated[
    int, Option(help="Network evaluations per patch: 1 is nearest to the truth, 4 draws detail.")
]
Samples = Annotated[
    int, Option(help="Images that are drawn and averaged; more than 1 need --steps 2 or more.")
]
Seed = Annotated[int, Option(help="Seed of the noise, which is tied to the ground.")]
Mask = Annotated[
    str,
    Option(
        metavar="auto|scl|omnicloudmask|all|PATH",
        help="What counts as cloud: the network's finds, the product's SCL, OmniCloudMask's finds, all, or a "
        "raster: of cmcr mask, of 0/1, of SCL, or of another tool, see --mask-codes.",
    ),
]
MaskCodes = Annotated[
    str | None,
    Option(
        metavar="NAME|VALUE=CLASS,...",
        help="What the values of a raster given as --mask mean, where its tags, name or values do not tell. "
        "A list such as 1=cloud,2=thin,3=shadow,8-10=cloud,else=clear, where classes are clear, cloud, thin, "
        "shadow and nodata, and what is not listed is refused, except that 0 is clear. Or a name: "
        f"{help_text()}.",
    ),
]
MaskWeights = Annotated[
    Path | None, Option(metavar="DIR", help="Folder of OmniCloudMask's weights; nothing is downloaded.")
]
Dilate = Annotated[float, Option(metavar="METRES", help="Grow the mask by this much on all sides.")]
KeepClear = Annotated[
    bool, Option("--keep-clear/--no-keep-clear", help="Copy clear pixels bit for bit, or reconstruct all.")
]
Context = Annotated[
    bool, Option("--context/--no-context", help="Learn from the scene's own clear ground first.")
]
Aoi = Annotated[
    Path | None, Option(metavar="PATH", help="GeoJSON of the only pixels to compute and write, in any CRS.")
]
Bbox = Annotated[
    str | None,
    Option(metavar="W,S,E,N", help="Bounds of the only pixels to compute and write, in degrees."),
]
Bands = Annotated[str | None, Option(metavar="B02,B03,...", help="Names of the bands of S2, in file order.")]
Offset = Annotated[
    float | None,
    Option(metavar="DN", help="Radiometric offset of S2, 0 or -1000; default: its metadata or tags, else 0."),
]
SunAngles = Annotated[
    str | None,
    Option(
        "--sun",
        metavar="AZIMUTH,ELEVATION",
        help="Where the sun stands, in degrees, as in 152.3,41.0; default: the metadata or tags of S2.",
    ),
]
S1Units = Annotated[
    Literal["auto", "db", "linear"], Option(help="Units of S1; auto: by the range of its values.")
]
Align = Annotated[
    Literal["warn", "strict"],
    Option(
        help="When S1 lies more than 30 m off S2: warn, or refuse (exit 4), also what cannot be measured."
    ),
]
Overlap = Annotated[int, Option(metavar="PX", help="Pixels over which neighbouring patches are blended.")]

# the machine
Weights = Annotated[
    Path | None, Option(envvar="CMCR_WEIGHTS", metavar="PATH", help="Weights file; default: the one in cmcr.")
]
Verify = Annotated[
    Path | None, Option(metavar="PATH", help="Fail unless this output was made with the weights.")
]
Device = Annotated[
    str, Option(envvar="CMCR_DEVICE", metavar="auto|cpu|cuda|cuda:N|mps", help="Where to compute.")
]
Devices = Annotated[
    str,
    Option(
        "--device",
        envvar="CMCR_DEVICE",
        metavar="auto|cpu|cuda|cuda:0,cuda:1|mps",
        help="Where to compute; several GPUs share a scene.",
    ),
]
BatchSize = Annotated[
    int | None,
    Option(parser=_batch_size, metavar="auto|N", help="Patches per call of the network; default: by device."),
]

# what is printed
DryRun = Annotated[
    bool, Option("--dry-run", help="Print what would be done, the time and the memory; write nothing.")
]
Json = Annotated[bool, Option("--json", help="Print one JSON object on stdout.")]
Verbose = Annotated[
    int, Option("--verbose", "-v", count=True, show_default=False, help="Say more; repeatable.")
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print errors only.")]

# simulation and validation
OutDir = Annotated[Path, Argument(help="Folder for s2.tif, s1.tif, truth.tif and mask.tif.")]
Size = Annotated[int, Option(metavar="N", help="Pixels along each side.")]
SceneSeed = Annotated[int, Option("--seed", help="Which scene.")]
CloudCover = Annotated[float, Option(metavar="F", help="Share of the scene under cloud, 0 to 1.")]
Made = Annotated[str, Argument(metavar="OUTPUT", help="Image that cmcr remove wrote.")]
Source = Annotated[str | None, Option(metavar="S2", help="The scene it was made from.")]
MadeProvenance = Annotated[
    str | None, Option("--provenance", metavar="PATH", help="The provenance written with it.")
]

# training; None takes the recipe's own value
Data = Annotated[Path, Argument(help="Folder of training scenes, or the word simulated.")]
SplitRule = Annotated[
    Literal["exact", "legacy"],
    Option(help="How SEN12MS-CR is split: exact, by ROI; legacy, as in most papers, which leaks."),
]
RunDir = Annotated[
    Path, Option(metavar="DIR", help="Folder of the run; one that holds a checkpoint goes on.")
]
Init = Annotated[Path | None, Option(metavar="WEIGHTS", help="Weights to start from; default: fresh ones.")]
Teacher = Annotated[Path, Option(metavar="WEIGHTS", help="Weights of the teacher.")]
Config = Annotated[
    str | None,
    Option(metavar="NAME|PATH", help="Packaged recipe, or a .toml file; default: that of the network."),
]
Images = Annotated[int | None, Option(help="Crops to see in all.")]
Batch = Annotated[int | None, Option(help="Crops per update.")]
Crop = Annotated[int | None, Option(help="Pixels along each side of a crop.")]
LearningRate = Annotated[float | None, Option(help="Highest learning rate.")]
TrainingSplitRule = Annotated[
    Literal["exact", "legacy"] | None, Option("--split-rule", help="Split of SEN12MS-CR; legacy leaks.")
]
TrainingSeed = Annotated[int | None, Option("--seed", help="Seed of the weights and the crops.")]
TrainingDryRun = Annotated[
    bool, Option("--dry-run", help="Print recipe, data found, network and run time; write nothing.")
]

# evaluation
Split = Annotated[Literal["train", "val", "test"], Option(help="Images to score.")]
StepList = Annotated[
    str, Option("--steps", metavar="N,N,...", help="Numbers of network evaluations to compare.")
]
MeanSamples = Annotated[int, Option("--samples", help="Images that are drawn for the row of their mean.")]
Limit = Annotated[int | None, Option(metavar="N", help="Score N images, evenly spread over the split.")]
Only = Annotated[
    Literal["restoration", "clouds", "masks"] | None,
    Option(help="Score one part only: restored images, the cloud network on the split, or labelled masks."),
]
HeldOut = Annotated[
    list[Path] | None,
    Option(
        "--held-out",
        metavar="WEIGHTS",
        help="Weights trained without one fold of places, by which masks are scored there; repeatable.",
    ),
]
