"""The spectral bands of Sentinel-2 as catalogues and GIS know them: common names, wavelengths and widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spectral:
    """A band of Sentinel-2A; those of the other satellites differ by a few nanometres.

    Attributes:
        common_name: Of version 2 of STAC's eo extension.
        centre: Central wavelength, micrometres.
        width: Full width at half maximum, micrometres.
    """

    common_name: str
    centre: float
    width: float

    @property
    def older_name(self) -> str:
        """Common name of version 1 of STAC's eo extension, which has one for all bands in the red edge."""
        return "rededge" if self.common_name.startswith("rededge") else self.common_name

    @property
    def imagery(self) -> dict[str, str]:
        """Metadata of GDAL's domain IMAGERY, which its raster data model defines."""
        return {"CENTRAL_WAVELENGTH_UM": f"{self.centre:g}", "FWHM_UM": f"{self.width:g}"}


SPECTRUM: Mapping[str, Spectral] = {
    "B01": Spectral("coastal", 0.443, 0.020),
    "B02": Spectral("blue", 0.493, 0.065),
    "B03": Spectral("green", 0.56, 0.035),
    "B04": Spectral("red", 0.665, 0.030),
    "B05": Spectral("rededge071", 0.704, 0.014),
    "B06": Spectral("rededge075", 0.741, 0.014),
    "B07": Spectral("rededge078", 0.783, 0.019),
    "B08": Spectral("nir", 0.833, 0.105),
    "B8A": Spectral("nir08", 0.865, 0.021),
    "B09": Spectral("nir09", 0.945, 0.019),
    "B10": Spectral("cirrus", 1.374, 0.029),
    "B11": Spectral("swir16", 1.614, 0.090),
    "B12": Spectral("swir22", 2.202, 0.174),
}
"""By the names of the bands; rounded values of ESA."""
