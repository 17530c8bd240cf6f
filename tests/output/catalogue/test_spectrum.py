from __future__ import annotations

from cmcr_cli.output.catalogue.spectrum import SPECTRUM
from cmcr_cli.scene.bands import BANDS, WAVELENGTHS, band_name


def test_bands_are_known_by_their_common_names_and_wavelengths() -> None:
    """As the reader of stacks knows them."""
    assert tuple(SPECTRUM) == BANDS
    for name, band in SPECTRUM.items():
        low, high = WAVELENGTHS[name]
        assert low <= band.centre * 1000 <= high and 0.01 < band.width < 0.2
        assert band_name(band.common_name) in (name, None)
        assert set(band.imagery) == {"CENTRAL_WAVELENGTH_UM", "FWHM_UM"}
    assert SPECTRUM["B04"].imagery == {"CENTRAL_WAVELENGTH_UM": "0.665", "FWHM_UM": "0.03"}


def test_older_catalogues_have_one_name_for_the_red_edge() -> None:
    assert [SPECTRUM[name].older_name for name in ("B04", "B05", "B07", "B8A")] == [
        "red",
        "rededge",
        "rededge",
        "nir08",
    ]
