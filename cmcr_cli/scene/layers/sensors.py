"""Images of other satellites, by the names and tags that they come with."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

from cmcr_cli.errors import RadiometryError

FILES = (
    (r"L[COTEM]0[4-9]_L[12]\w{2}_\d{6}_\d{8}", "Landsat"),
    (r"L[CTEM][4-9]\d{6}\d{7}[A-Z]{3}\d{2}", "Landsat"),
    (r"HLS\.[LS]30\.", "HLS (Harmonized Landsat and Sentinel-2)"),
    (
        r"\d{8}_\d{6}_\w+_3[AB]_(Analytic|Visual|udm)|(psscene|ps4b|ps8b|planetscope|skysat|superdove)"
        r"|\d{8}_\d{6}_ssc\d+_",
        "PlanetScope",
    ),
    (r"S3[ABC]_(OL|SL|SY)_", "Sentinel-3"),
    (r"(MOD|MYD|MCD)\d{2}[A-Z]\w{1,2}\.A\d{7}", "MODIS"),
    (r"V(NP|J1|J2)\d{2}\w*\.A\d{7}", "VIIRS"),
)
"""What the file names of products begin with or contain."""

WORDS = (
    (r"landsat|^l[cet]0?[4-9]$|\boli\b|oli_tirs|olitirs|\betm\+?\b", "Landsat"),
    (r"\bhls|hls[sl]30", "HLS (Harmonized Landsat and Sentinel-2)"),
    (r"planetscope|psscene|\bplanet\b|skysat|rapideye|superdove|\bdove\b|^ps2|^psb\.?sd", "PlanetScope"),
    (r"sentinel[ _-]?3|^s3[abc]$|\bolci\b|slstr", "Sentinel-3"),
    (r"modis|\bterra\b|\baqua\b", "MODIS"),
    (r"viirs|\bsnpp\b|suomi", "VIIRS"),
    (r"sentinel[ _-]?1|^s1[abcd]$", "Sentinel-1"),
    (r"pl[eé]iades|worldview|geoeye|\bspot[ _-]?\d|gaofen|^gf-?\d|liss|resourcesat|cbers|\baster\b|ven[uµ]s"
     r"|prisma|enmap|desis|naip|kompsat|formosat", "another satellite"),
)  # fmt: skip

OURS = re.compile(r"sentinel[ _-]?2|^s2[abcd]?$|\bmsi\b", re.IGNORECASE)

KEYS = re.compile(
    r"(platform|constellation|spacecraft|sensor|satellite|mission|instrument)s?(_?(id|name|shortname))?"
    r"|collection|short_?name|(product|item)_?type|(image_?)?description|tifftag_imagedescription|title"
)
"""Tags that name the satellite, without what stands before their last dot, colon or hash."""

KEY_WORDS = re.compile(r"landsat|hls|planet|modis|viirs|rapideye", re.IGNORECASE)
"""Beginnings of tags that only images of these satellites have."""

HLS_BANDS = re.compile(r"[sl]30[ _.-]?b\d.*", re.IGNORECASE)

LANDSAT_BANDS = re.compile(r"(sr|st|toa)_b\d{1,2}", re.IGNORECASE)
"""Names of bands of Landsat's collection 2."""

PLANET_BANDS = frozenset(("green_i", "green i", "yellow"))


def check_sensor(path: str, tags: Mapping[str, object], texts: Iterable[str | None] = ()) -> None:
    """Refuse images of another satellite.

    Args:
        path: Of the file or item.
        tags: Of the file, or properties of the item.
        texts: What its layers are called.

    Raises:
        RadiometryError: They say that it is not of Sentinel-2.
    """
    found = _by_file(path) or _by_tags(tags) or _by_bands([text for text in texts if text])
    if found is not None:
        sensor, reason = found
        raise RadiometryError(
            f"{path}: is of {sensor} ({reason}); expected Sentinel-2. The networks know the bands and pixels "
            "of Sentinel-2 alone. If the name or tag is wrong, correct it."
        )


def _by_file(path: str) -> tuple[str, str] | None:
    name = posixpath.basename(path.partition("?")[0].replace("\\", "/").rstrip("/"))
    for pattern, sensor in FILES:
        if re.search(rf"(?<![A-Za-z0-9])({pattern})", name, re.IGNORECASE):
            return sensor, "by its file name"
    return None


def _by_tags(tags: Mapping[str, object]) -> tuple[str, str] | None:
    for key, value in tags.items():
        for pattern, sensor in WORDS:
            if (found := KEY_WORDS.match(key)) and re.search(pattern, found[0].casefold()):
                return sensor, f"it has a tag {key}"
        if not KEYS.fullmatch(re.split(r"[.:#/ ]", key.casefold())[-1]):
            continue
        values = value if isinstance(value, list | tuple) else [value]
        for text in map(str, values):
            if OURS.search(text) and not re.search(r"hls", text, re.IGNORECASE):
                continue
            for pattern, sensor in WORDS:
                if re.search(pattern, text.casefold()):
                    return sensor, f"{key} is {text!r}"
    return None


def _by_bands(texts: list[str]) -> tuple[str, str] | None:
    for text in texts:
        if LANDSAT_BANDS.fullmatch(text.strip()):
            return "Landsat", f"it has a band {text!r}"
        if HLS_BANDS.fullmatch(text.strip()):
            return "HLS (Harmonized Landsat and Sentinel-2)", f"it has a band {text!r}"
        if text.strip().casefold() in PLANET_BANDS:
            return "PlanetScope", f"it has a band {text!r}"
    return None
