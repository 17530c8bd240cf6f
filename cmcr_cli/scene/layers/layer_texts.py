"""What the layers of a stack are called: by descriptions, tags, or the files of a virtual raster."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from cmcr_cli.scene.bands import NUMBER, band_at, band_name

NAME_TAGS = ("long_name", "band_name", "bandname", "name", "band", "eo:common_name", "common_name", "title")
"""Tags of a band that may name it, without regard to case."""

WAVELENGTH_TAGS = {"central_wavelength_um": 1000.0, "wavelength": 0.0, "central_wavelength": 0.0}
"""Tags with a central wavelength, and nanometres of their unit; 0: by the size of the number."""

OTHER_LAYERS = re.compile(
    r"scl|cl[mpd]|cldprb|snw|snwprb|aot|wvp|msk|datamask|mask|alpha|fmask|qa\d*|quality|cloud(s|y|mask|prob)?"
    r"|prob(ability)?|cs|cdf|shadows?|snow|valid(ity)?|tci|ndvi|evi2?|m?ndwi|ndmi|nbr|m?savi|ndre|ndbi|std(dev)?"
    r"|stdev|sigma|variance|uncertainty|count|azimuth|zenith|[sv][az]a|angles?|sun(azimuth|zenith)angles"
    r"|view(azimuth|zenith)mean|dem|elevation|slope|doy|nodata|classification|class(es)?|detfoo|provenance|[vh][vh]"
    r"|diff(erence)?|delta|change|anomal(y|ies)|trend|rank|z?scores?|errors?|flags?"
)
"""Words for layers that are no reflectance."""


DAY = re.compile(r"(?<!\d)(?:19|20)\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])(?=T\d{6}|\D|$)")
"""A day in the name of a file or layer."""


def is_other_layer(text: str) -> bool:
    """Recognise masks, classes, angles, indices and the like by their names.

    Args:
        text: The name of a layer, such as `SCL`, `dataMask`, `MSK_CLDPRB` or `std_B02`.

    Returns:
        Whether it names a layer that is not reflectance.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", text.casefold()) if word]
    return any(OTHER_LAYERS.fullmatch(word) for word in (*words, "".join(words)))


def texts_of(dataset: Any) -> tuple[str, ...]:
    """Take the name of each layer of a file from the first place that has one.

    Args:
        dataset: The open file.

    Returns:
        One text each, empty where nothing names the layer.
    """
    described = [(text or "").strip() for text in dataset.descriptions]
    if not says_nothing(described):
        return tuple(described)
    for found in (_by_tags(dataset), _listed(dataset), _by_sources(dataset)):
        if not says_nothing(found):
            return tuple(found)
    return tuple(described)


def says_nothing(texts: Sequence[str]) -> bool:
    """Tell whether names of layers tell nothing of what they show: none, all the same, or only counted.

    `B1`, `B2`, ... of up to eight layers may be the bands themselves, and more cannot be.

    Args:
        texts: The name of each layer.

    Returns:
        Whether that is so.
    """
    if not any(texts):
        return True
    if len(texts) > 1 and len(set(texts)) == 1:
        return True
    counted = [re.fullmatch(r"(.*?)0*(\d+)", text) for text in texts]
    if len(texts) < 2 or not all(counted):
        return False
    prefixes = {found[1] for found in counted if found}
    numbers = [int(found[2]) for found in counted if found]
    if len(prefixes) > 1 or numbers not in ([*range(len(texts))], [*range(1, len(texts) + 1)]):
        return False
    return len(texts) > 8 or NUMBER.fullmatch(texts[-1].casefold()) is None or "and" in texts[0].casefold()


def names_of_texts(texts: Sequence[str]) -> tuple[str | None, ...]:
    """Take the names of bands from texts, which are looked at together.

    The same name means different bands in different tools: NIR is B8A beside BROADNIR (FORCE), and SWIR 2 is
    B11 in Digital Earth Australia, where SWIR 3 is B12.

    Args:
        texts: The name of each layer.

    Returns:
        Names as in BANDS, None for a text that names none.
    """
    plain = [re.sub(r"nbart?|[^a-z0-9]+", "", text.casefold()) for text in texts]
    special: dict[str, str | None] = {}
    if "broadnir" in plain:
        special["nir"] = "B8A"
    if "swir3" in plain or any("nbar" in text.casefold() for text in texts):
        special |= {"swir2": "B11", "swir3": "B12"}
    elif "swir2" in plain and "swir1" not in plain:
        special["swir2"] = None
    return tuple(
        special[word] if word in special else band_name(text) for word, text in zip(plain, texts, strict=True)
    )


def days_of(dataset: Any) -> tuple[str, ...]:
    """Find the days in the names of layers, or of the files of which a virtual raster is made.

    Args:
        dataset: The open file.

    Returns:
        The days, sorted; none where all layers have the same, as those of a mosaic have.
    """
    # The mask of a virtual raster follows its bands.
    sources = _sources(dataset)[: dataset.count] or [set[str]()] * dataset.count
    layers = [
        # The first of a name: products state when they were made as well.
        {found[0] for each in (text or "", *files) if (found := DAY.search(posixpath.basename(each)))}
        for text, files in zip(dataset.descriptions, sources, strict=True)
    ]
    days = set[str]().union(*layers)
    return tuple(sorted(days)) if any(layer != days for layer in layers) else ()


def _by_tags(dataset: Any) -> list[str]:
    """Names or wavelengths that the tags of the bands state."""
    found = []
    for index in dataset.indexes:
        tags = {key.casefold(): text for key, text in dataset.tags(index).items()}
        tags |= {key.casefold(): text for key, text in dataset.tags(index, ns="IMAGERY").items()}
        text = next((tags[key] for key in NAME_TAGS if tags.get(key)), "")
        found.append(text or _wavelength(tags))
    return found


def _wavelength(tags: dict[str, str]) -> str:
    for key, unit in WAVELENGTH_TAGS.items():
        try:
            value = float(tags[key])
        except (KeyError, ValueError):
            continue
        nanometres = value * (unit or (1000.0 if value < 100 else 1.0))
        return band_at(nanometres) or f"{nanometres:g} nm"
    return ""


def _listed(dataset: Any) -> list[str]:
    """Names that one tag of the file lists, as xarray writes them."""
    tags = {key.casefold(): text for key, text in dataset.tags().items()}
    for key in ("long_name", "band_names", "bands", "band_descriptions"):
        words = re.findall(r"[^\s,;'\"()\[\]{}][^,;'\"()\[\]{}]*", tags.get(key, ""))
        if len(words) == dataset.count:
            return [word.strip() for word in words]
    return []


def _by_sources(dataset: Any) -> list[str]:
    """Names of the files of which a virtual raster is made, one a band."""
    bands = _sources(dataset, layer="1")
    if any(len(sources) != 1 for sources in bands):
        return []
    return [_end_of(posixpath.splitext(posixpath.basename(sources.pop()))[0]) for sources in bands]


def _sources(dataset: Any, layer: str | None = None) -> list[set[str]]:
    """The files of each band of a virtual raster; none where one shows another of their layers."""
    if dataset.driver != "VRT":
        return []
    try:
        tree = defusedxml.ElementTree.fromstring(
            dataset.tags(ns="xml:VRT").get("xml:VRT", ""), forbid_dtd=True
        )
    except (ParseError, DefusedXmlException, ValueError):
        return []
    found = []
    for band in tree.iter("VRTRasterBand"):
        layers = {(each.text or "1").strip() for each in band.iter("SourceBand")}
        if layer is not None and layers - {layer}:
            return []
        sources = band.iter("SourceFilename")
        found.append({(source.text or "").strip().replace("\\", "/") for source in sources})
    return found


def _end_of(stem: str) -> str:
    """The part of a file's name that names a layer: the last that does, with what follows it."""
    words = re.split(r"[_.\s-]+", stem)
    for first in range(len(words) - 1, -1, -1):
        text = "_".join(words[first:])
        if band_name(text) is not None or is_other_layer(words[first]):
            return text
    return stem
