"""Styles of QGIS (QML): beside a raster and with its name, QGIS takes one without being asked."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from cmcr_cli.output.catalogue.categories import Categories
from cmcr_cli.output.cog_spec import OutputSpec
from cmcr_cli.scene.radiometry import Radiometry

NATURAL = {"red": "B04", "green": "B03", "blue": "B02"}
"""Bands of natural colours."""

BRIGHTEST = 0.3
"""Reflectance shown as full brightness: nearly all ground is darker, and clouds are white."""

MOST_DEVIATION = 0.05
"""Reflectance: standard deviation that is shown as white."""

PER_CENT = 100.0

LIMITS = "<minMaxOrigin><limits>None</limits></minMaxOrigin>"
"""That the limits of a stretch are those of the style, and not to be taken from the pixels."""


def style_of(spec: OutputSpec, stored: Radiometry | None = None) -> bytes:
    """Make the style of a raster: classes in their colours, an image in natural ones, others in grey.

    Args:
        spec: The raster.
        stored: Reflectance of its numbers, for an image.

    Returns:
        Content of the QML file.
    """
    if spec.categories:
        renderer = _classes(spec.categories)
    elif stored is not None:
        renderer = _natural(spec, stored)
    else:
        renderer = _grey(PER_CENT if spec.dtype == "uint8" else MOST_DEVIATION)
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22" styleCategories="Symbology">\n'
        f"<pipe>\n{renderer}\n</pipe>\n<blendMode>0</blendMode>\n</qgis>\n"
    ).encode()


def _classes(categories: Categories) -> str:
    entries = "\n".join(
        f'<paletteEntry value="{int(each.value)}" color="#{each.hexadecimal}" alpha="255" '
        f"label={quoteattr(each.name)}/>"
        for each in categories
        if each.colour is not None
    )
    return (
        '<rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">\n'
        f"<colorPalette>\n{entries}\n</colorPalette>\n</rasterrenderer>"
    )


def _natural(spec: OutputSpec, stored: Radiometry) -> str:
    """Three bands with one stretch, of reflectance where the file states a scale, else of what is stored."""
    scaled = any(scale != 1 for scale in spec.scales)
    dark, bright = (
        value if scaled else value * stored.quantification - stored.offset for value in (0.0, BRIGHTEST)
    )
    bands = {colour: spec.descriptions.index(name) + 1 for colour, name in NATURAL.items()}
    places = " ".join(f'{colour}Band="{place}"' for colour, place in bands.items())
    stretches = "\n".join(
        f"<{colour}ContrastEnhancement>{_stretch(dark, bright)}</{colour}ContrastEnhancement>"
        for colour in bands
    )
    return (
        f'<rasterrenderer type="multibandcolor" {places} opacity="1" alphaBand="-1" nodataColor="">\n'
        f"{LIMITS}\n{stretches}\n</rasterrenderer>"
    )


def _grey(bright: float) -> str:
    """The first band, from black at 0."""
    return (
        '<rasterrenderer type="singlebandgray" grayBand="1" gradient="BlackToWhite" opacity="1" '
        f'alphaBand="-1" nodataColor="">\n{LIMITS}\n'
        f"<contrastEnhancement>{_stretch(0, bright)}</contrastEnhancement>\n</rasterrenderer>"
    )


def _stretch(dark: float, bright: float) -> str:
    return (
        f"<minValue>{dark:g}</minValue><maxValue>{bright:g}</maxValue>"
        "<algorithm>StretchToMinimumMaximum</algorithm>"
    )
