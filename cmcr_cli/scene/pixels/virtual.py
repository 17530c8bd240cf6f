"""What the files of which a virtual raster is made say of their nodata, where the raster itself does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape, quoteattr

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException
from rasterio.enums import MaskFlags

from cmcr_cli.errors import InputError
from cmcr_cli.scene.pixels.validity import PLAUSIBLE
from cmcr_cli.scene.raster import open_raster

SOURCES = ("SimpleSource", "ComplexSource", "AveragedSource", "KernelFilteredSource")

MOST_FILES = 256
"""Files that are looked at; of a larger mosaic these speak for all."""

Said = dict[int, tuple[float | None, bool]]
"""For each band of a file its nodata value, and whether it has a mask besides that."""


def mask_of_sources(dataset: Any, indexes: Sequence[int]) -> str | None:
    """Make a raster of where the sources of a virtual raster are valid.

    Args:
        dataset: Any open raster.
        indexes: Its bands, from 1.

    Returns:
        Text of a virtual raster of bytes, 0 where a source has no measurement; None where the sources do not
        say more than the raster itself.
    """
    text = dataset.tags(ns="xml:VRT").get("xml:VRT") if dataset.driver == "VRT" else None
    if text is None:
        return None
    try:
        tree = defusedxml.ElementTree.fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError, ValueError):
        return None  # GDAL has read it
    folder, files = Path(dataset.name).parent, dict[str, Said]()
    bands: list[str] = []
    for index, band in enumerate(tree.iter("VRTRasterBand"), 1):
        if index not in indexes:
            continue
        sources = [each for each in band if each.tag in SOURCES]
        told = [_told(each, dataset.nodatavals[index - 1], folder, files) for each in sources]
        if any(told):
            parts = "".join(_masked(each, says, folder) for each, says in zip(sources, told, strict=True))
            bands.append(f'<VRTRasterBand dataType="Byte" band="{len(bands) + 1}">{parts}</VRTRasterBand>')
    if not bands:
        return None
    size = f'rasterXSize="{dataset.width}" rasterYSize="{dataset.height}"'
    return f"<VRTDataset {size}>{''.join(bands)}</VRTDataset>"


def _told(source: Element, nodata: float | None, folder: Path, files: dict[str, Said]) -> bool:
    """Whether a source says more of its nodata than the band into which it goes."""
    number = source.findtext("SourceBand", "1")
    name = _file(source, folder)
    if name not in files and len(files) < MOST_FILES:
        files[name] = _said(name)
    own, masked = files.get(name, {}).get(int(number) if number.isdecimal() else 0, (None, False))
    left_out = source.findtext("NODATA")
    if left_out is not None:  # its pixels show the nodata value of the band, or 0 where that has none
        return masked or (nodata is None and _never(_number(left_out)))
    return masked or (_never(own) and own != nodata)


def says_more_than_nodata(flags: Sequence[MaskFlags]) -> bool:
    """Tell whether a band has a mask that says more than its nodata value.

    Args:
        flags: GDAL's flags of its mask; none: the band has a mask of its own.

    Returns:
        Whether that is so.
    """
    return MaskFlags.all_valid not in flags and list(flags) != [MaskFlags.nodata]


def _never(value: float | None) -> bool:
    return value is not None and not PLAUSIBLE[0] <= value <= PLAUSIBLE[1]


def _said(path: str) -> Said:
    try:
        with open_raster(path, "a part of a virtual raster") as dataset:
            return {
                index: (
                    dataset.nodatavals[index - 1],
                    says_more_than_nodata(dataset.mask_flag_enums[index - 1]),
                )
                for index in dataset.indexes
            }
    except InputError:
        return {}  # whoever reads its pixels says so


def _masked(source: Element, told: bool, folder: Path) -> str:
    """A source of a mask: its mask, or 255 throughout where it has none of interest."""
    number, left_out = source.findtext("SourceBand", "1"), source.findtext("NODATA")
    parts = f'<SourceFilename relativeToVRT="0">{escape(_file(source, folder))}</SourceFilename>'
    by_mask = told and (left_out is None or not _never(_number(left_out)))
    parts += f"<SourceBand>{'mask,' * by_mask}{number}</SourceBand>"
    for name in ("SrcRect", "DstRect"):
        if (found := source.find(name)) is not None:
            sides = " ".join(f"{key}={quoteattr(value)}" for key, value in found.attrib.items())
            parts += f"<{name} {sides}/>"
    if not by_mask:
        parts += "<ScaleOffset>255</ScaleOffset><ScaleRatio>0</ScaleRatio>"
        parts += f"<NODATA>{left_out}</NODATA>" if told else ""
        return f"<ComplexSource>{parts}</ComplexSource>"
    if left_out is None and source.find("UseMaskBand") is None:
        return f"<SimpleSource>{parts}</SimpleSource>"
    return f"<ComplexSource>{parts}<NODATA>0</NODATA></ComplexSource>"


def _file(source: Element, folder: Path) -> str:
    element = source.find("SourceFilename")
    if element is None or not element.text:
        return ""
    return str(folder / element.text) if element.get("relativeToVRT") == "1" else element.text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
