"""Recipes: all settings of a training, in TOML files.

The packaged recipes in `recipes/` explain each setting. A file states all settings, so that one page shows
what a run did, and the recipe that a run saves repeats the run.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from cmcr_cli.errors import InputError, OptionError
from cmcr_cli.model.cloud_network import CloudConfig
from cmcr_cli.model.diffusion import DiffusionConfig
from cmcr_cli.model.network import NetworkConfig


@dataclass(frozen=True, slots=True)
class Range:
    """Allowed values of a number.

    Attributes:
        expected: The same in words, for messages.
        low: Smallest value.
        high: Largest value.
    """

    expected: str
    low: float
    high: float = math.inf


Count = Annotated[int, Range("a whole number of 1 or more", 1)]
Index = Annotated[int, Range("a whole number of 0 or more", 0)]
Positive = Annotated[float, Range("a number above 0", math.ulp(0.0))]
Number = Annotated[float, Range("a number", -math.inf)]
Share = Annotated[float, Range("a number from 0 to 1", 0, 1)]

_PLAIN = {
    int: Range("a whole number of 1 or more", 1),
    float: Range("a number of 0 or more", 0),
}
"""Range of numbers whose type does not specify one."""


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """Settings of the training loop. The packaged recipes explain them further.

    Attributes:
        images: Length of the run, in crops.
        batch: Crops per update, all processes together.
        crop: Side of a crop, pixels.
        learning_rate: Highest value, after the warm-up.
        warmup: Crops during the warm-up of the learning rate.
        clip: Largest norm of the gradient.
        average: Decay per update of the averaged weights.
        weight_decay: Of AdamW.
        snapshot: Crops between validations.
        seed: Seed of initial weights, samples, crops and noise.
        precision: Of the computation; bfloat16 is autocast.
    """

    images: Count
    batch: Count
    crop: Count
    learning_rate: Positive
    warmup: Count
    clip: Positive
    average: Share
    weight_decay: Annotated[float, Range("a number of 0 or more", 0)]
    snapshot: Count
    seed: Index
    precision: Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Settings of the data: which are read, and how samples become crops.

    Attributes:
        split_rule: Split of SEN12MS-CR.
        fold: Fold whose places are held out; 0: none.
        buffer: Samples that each process keeps to cut crops from.
        crops_per_sample: Crops per sample, on average.
        workers: Processes that make samples, per training process.
    """

    split_rule: Literal["exact", "legacy"]
    fold: Annotated[int, Range("0 (none) or the number of a fold", 0, 3)]
    buffer: Count
    crops_per_sample: Count
    workers: Index


@dataclass(frozen=True, slots=True)
class Mix:
    """Settings of the samples of the denoiser: how often each kind is drawn, and what is removed from it.

    The packaged recipes say of what each share is a part.

    Attributes:
        hidden: Share without clear ground: a cloud deck over unchanged ground.
        heavy: Share with 1 to 15 % clear ground.
        mistaken: Share with a faulty mask.
        simulated: Share of simulated ground.
        gain: Range of a random factor on the brightness of the ground.
        recoloured: Share with colours changed at random.
        cloudless: Share without cloud.
        flooded: Share partly covered by simulated water.
        other_date: Share of real pairs, whose target is of another date.
        veiled: Share with thin cirrus or haze above everything else.
        procedural: Share with procedural clouds instead of real ones.
        pseudo_radar: Share with random radar that shares the boundaries of the ground.
        no_radar: Share without radar.
        no_context: Share whose context is that of a scene without clear ground, as with --no-context.
        no_cirrus: Share without B10.
        no_sixty_metre: Share without B01, B09 and B10.
        overcast_again: Chance to redraw a sample with hardly any clear ground.
    """

    hidden: Share
    heavy: Share
    mistaken: Share
    simulated: Share
    gain: tuple[Positive, Positive]
    recoloured: Share
    cloudless: Share
    flooded: Share
    other_date: Share
    veiled: Share
    procedural: Share
    pseudo_radar: Share
    no_radar: Share
    no_context: Share
    no_cirrus: Share
    no_sixty_metre: Share
    overcast_again: Share


@dataclass(frozen=True, slots=True)
class MaskMix:
    """Settings of the samples of the cloud network: how often each kind is drawn, and what is removed.

    The packaged recipes say of what each share is a part.

    Attributes:
        views: Views of each sample in other light.
        made: Share of batches with clouds added to clear ground.
        clear: Share of clear images.
        varied: Share with snow, water, desert, roofs or relief drawn over them.
        cloudless_shade: Share with dark patches without a cloud.
        crowded: Share to which further clouds are added.
        veiled: Share with thin cirrus or haze above the clouds.
        nodata: Share with nodata beyond an edge.
        no_sun: Share with the position of the sun unknown.
        no_cirrus: Share without B10.
        no_sixty_metre: Share without B01, B09 and B10.
        no_band: Share with one band missing.
        four_bands: Share with B02, B03, B04 and B08 only.
        some_bands: Share with two to seven bands missing.
    """

    views: Count
    made: Share
    clear: Share
    varied: Share
    cloudless_shade: Share
    crowded: Share
    veiled: Share
    nodata: Share
    no_sun: Share
    no_cirrus: Share
    no_sixty_metre: Share
    no_band: Share
    four_bands: Share
    some_bands: Share


@dataclass(frozen=True, slots=True)
class Objective:
    """Settings of the losses: noise levels, and weights of the terms.

    Attributes:
        at_sigma_max: Share of a batch at the noise level of the first step.
        log_sigma: Teacher: mean and standard deviation of ln sigma for the rest.
        levels: Distillation: number of noise levels.
        anchor: Distillation: weight of the ground truth.
        target: Distillation: decay per update of the target copy.
        refined: Distillation: weight of a second step from the student's own estimate.
        weave: Weight of errors that repeat every 8 pixels.
    """

    at_sigma_max: Share
    log_sigma: tuple[Number, Positive]
    levels: Annotated[int, Range("a whole number of 2 or more", 2)]
    anchor: Annotated[float, Range("a number of 0 or more", 0)]
    target: Share
    refined: Annotated[float, Range("a number of 0 or more", 0)]
    weave: Annotated[float, Range("a number of 0 or more", 0)]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All settings of a run, except its data and the weights that it starts from.

    Attributes:
        loop: The training loop.
        data: The data.
        mix: Samples of the denoiser.
        mask: Samples of the cloud network.
        objective: The losses.
        network: Architecture of the denoiser.
        diffusion: Noise levels and scalings.
        clouds: Architecture of the cloud network.
    """

    loop: LoopConfig
    data: DataConfig
    mix: Mix
    mask: MaskMix
    objective: Objective
    network: NetworkConfig
    diffusion: DiffusionConfig
    clouds: CloudConfig


def packaged() -> list[str]:
    """List the recipes that come with cmcr.

    Returns:
        Their names, sorted.
    """
    return sorted(Path(item.name).stem for item in files(__package__).joinpath("recipes").iterdir())


def load_recipe(source: str) -> Recipe:
    """Read a recipe.

    Args:
        source: Name of a packaged recipe, or path of a file that ends in `.toml`.

    Returns:
        The recipe.

    Raises:
        InputError: The file is missing or not valid TOML; a key is unknown or missing; or a value has the
            wrong type or is out of range.
    """
    if source.endswith(".toml"):
        path = Path(source)
    elif source in packaged():
        path = Path(str(files(__package__).joinpath("recipes", f"{source}.toml")))
    else:
        raise InputError(
            f"--config {source}: no recipe of that name; expected {', '.join(packaged())}, or the path of a "
            ".toml file"
        )
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is a folder, a pipe or a device; expected a TOML file. See --config")
    try:
        return parse_recipe(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); see --config") from error
    except ValueError as error:  # includes the errors of tomllib and of decoding
        raise InputError(f"{path}: {error}") from error


def parse_recipe(text: str) -> Recipe:
    """Parse a recipe.

    Args:
        text: TOML.

    Returns:
        The recipe.

    Raises:
        ValueError: Something is wrong; the message names the key.
    """
    return _recipe(tomllib.loads(text))


def with_knobs(recipe: Recipe, **chosen: Any) -> Recipe:
    """Replace some settings of the loop and the data.

    Args:
        recipe: The recipe.
        chosen: New values by name of the setting.

    Returns:
        The recipe with these values.

    Raises:
        OptionError: A value is out of range.
    """
    table = asdict(recipe)
    for name, value in chosen.items():
        table["data" if name in table["data"] else "loop"][name] = value
    try:
        return _recipe(table)
    except ValueError as error:
        raise OptionError(str(error)) from error


def dump_recipe(recipe: Recipe) -> str:
    """Format a recipe as TOML.

    Args:
        recipe: The recipe.

    Returns:
        Text that `parse_recipe` reads back to the same values.
    """
    tables = (
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in asdict(recipe).items()
    )
    return "\n".join(tables)


def differences(recipe: Recipe, other: Recipe) -> list[str]:
    """List the settings in which two recipes differ.

    Args:
        recipe: One of them.
        other: The other.

    Returns:
        Texts `table.key: value, value`.
    """
    one, two = asdict(recipe), asdict(other)
    return [
        f"{table}.{key}: {json.dumps(one[table][key])}, {json.dumps(two[table][key])}"
        for table in one
        for key in one[table]
        if one[table][key] != two[table][key]
    ]


def _recipe(table: Mapping[str, Any]) -> Recipe:
    recipe: Recipe = _converted(table, Recipe, "")
    depth = max(5, len(recipe.network.widths))  # 5: see the sides of `mask_samples.MaskSamples`
    for name in ("condition_blocks", "step_blocks"):
        if len(getattr(recipe.network, name)) != len(recipe.network.widths):
            raise ValueError(f"network.{name} and network.widths differ in length; expected one per level")
    if recipe.loop.crop % 2**depth:
        raise ValueError(f"loop.crop is {recipe.loop.crop}; expected a multiple of {2**depth}")
    if recipe.mix.gain[0] > recipe.mix.gain[1]:
        raise ValueError(f"mix.gain is {list(recipe.mix.gain)}; expected the lower bound first")
    if not 0 < recipe.diffusion.sigma_min < recipe.diffusion.sigma_max:
        raise ValueError("diffusion.sigma_min must be above 0 and below diffusion.sigma_max")
    return recipe


def _converted(found: Any, hint: Any, key: str) -> Any:
    """Convert a value from TOML to the type `hint`; a ValueError names the key if it does not fit."""
    limits = _PLAIN.get(hint)
    if get_origin(hint) is Annotated:
        hint, limits = get_args(hint)
    if is_dataclass(hint):
        return _table(found, hint, key)
    if get_origin(hint) is tuple:
        return _items(found, get_args(hint), key)
    if get_origin(hint) is Literal:
        if found not in get_args(hint):
            raise _unfit(key, found, " or ".join(map(json.dumps, get_args(hint))))
        return found
    if limits is None:
        raise TypeError(f"{key}: no rule for {hint}")
    whole = type(found) is int
    if not (whole or (hint is float and type(found) is float)) or not math.isfinite(found):
        raise _unfit(key, found, limits.expected)
    if not limits.low <= found <= limits.high:
        raise _unfit(key, found, limits.expected)
    return hint(found)


def _table(found: Any, kind: Any, key: str) -> Any:
    if not isinstance(found, Mapping):
        raise _unfit(key, found, f"a table [{key}]")
    hints, prefix = get_type_hints(kind, include_extras=True), f"{key}." if key else ""
    unknown = sorted(found.keys() - hints.keys())
    if unknown:
        raise ValueError(f"unknown key {prefix}{unknown[0]}; expected {', '.join(hints)}")
    missing = [name for name in hints if name not in found]
    if missing:
        raise ValueError(
            f"{prefix}{missing[0]} is missing; a recipe states every setting, see recipe.toml of a run"
        )
    return kind(**{f.name: _converted(found[f.name], hints[f.name], prefix + f.name) for f in fields(kind)})


def _items(found: Any, kinds: tuple[Any, ...], key: str) -> tuple[Any, ...]:
    if not isinstance(found, list | tuple) or not found:
        raise _unfit(key, found, "a list of numbers")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(found)
    if len(found) != len(kinds):
        raise _unfit(key, found, f"a list of {len(kinds)} numbers")
    return tuple(_converted(item, kind, key) for item, kind in zip(found, kinds, strict=True))


def _unfit(key: str, found: Any, expected: str) -> ValueError:
    return ValueError(f"{key} is {json.dumps(found, default=str)}; expected {expected}")
