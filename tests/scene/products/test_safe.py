from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from cmcr_cli.errors import GridMismatchError, InputError, RadiometryError
from cmcr_cli.scene.bands import BANDS, L2A_BANDS
from cmcr_cli.scene.layers.radiometry_check import check_radiometry
from cmcr_cli.scene.masks.mask_raster import open_mask
from cmcr_cli.scene.optical import open_optical
from cmcr_cli.scene.products import safe
from cmcr_cli.scene.products.safe import is_safe, read_safe
from cmcr_cli.scene.raster import open_raster
from cmcr_cli.scene.sun import Sun

MakeProduct = Callable[..., Any]


@pytest.fixture(scope="module")
def l2a(make_product: MakeProduct) -> Any:
    return make_product()


@pytest.mark.parametrize(("level", "names"), [("1C", BANDS), ("2A", L2A_BANDS)])
@pytest.mark.parametrize("offset", [None, -1000])
def test_bands_of_all_resolutions_on_the_10_m_grid(
    make_product: MakeProduct, level: str, names: tuple[str, ...], offset: int | None
) -> None:
    product = make_product(level, size=120, offset=offset)
    with open_optical(product.folder) as optical:
        assert (optical.names, optical.level) == (names, f"L{level}")
        assert optical.grid.describe() == "120 x 120 px of 10 m, EPSG:32631"
        assert (optical.nodata, optical.dtype) == (0, np.dtype("uint16"))
        assert (optical.radiometry.offset, optical.offset_source) == (offset or 0, "product")
        whole = optical.read(0, 120)
        # strips that begin and end within the pixels of 20 and 60 m
        strips = [optical.read(top, min(35, 120 - top)) for top in range(0, 120, 35)]
        assert check_radiometry(optical) == ()
        assert not optical.valid(whole)[:30, :60].any() and optical.valid(whole)[30:].all()
    assert np.array_equal(whole, product.dn)
    assert np.array_equal(np.concatenate(strips, axis=1), product.dn)


def test_what_the_product_says_is_passed_on(l2a: Any) -> None:
    with open_optical(l2a.folder) as optical:
        assert optical.tags["PRODUCT_URI"] == l2a.folder.name
        assert optical.tags["PROCESSING_BASELINE"] == "05.10"
        assert optical.tags["PRODUCT_START_TIME"].startswith("2024-06-01T10:20:31")
        assert optical.scales == (0.0001,) * 12 and optical.offsets == (-0.1,) * 12
        assert optical.scl is not None and optical.scl.endswith("SCL_20m.jp2")


def test_option_wins_over_the_product(l2a: Any) -> None:
    with open_optical(l2a.folder, offset=0) as optical:
        assert (optical.radiometry.offset, optical.offset_source) == (0, "option")
        assert "--offset 0 is used" in str(optical.warnings[0])
    with pytest.raises(RadiometryError, match="--bands"), open_optical(l2a.folder, bands=L2A_BANDS):
        pass


def test_zip_is_read_in_place(l2a: Any, tmp_path: Path) -> None:
    archive = l2a.zipped
    renamed = tmp_path / "any name, with comma.ZIP"
    archive.rename(renamed)
    for path in (str(renamed), f"/vsizip/{renamed}", str(l2a.folder / "MTD_MSIL2A.xml")):
        with open_optical(path) as optical:
            assert np.array_equal(optical.read(0, 240), l2a.dn)
    assert list(tmp_path.iterdir()) == [renamed]


def test_inside_of_a_zip_by_gdals_own_path(l2a: Any) -> None:
    path = f"/vsizip/{l2a.zipped}/{l2a.folder.name}"
    with open_optical(path) as optical:
        assert np.array_equal(optical.read(0, 240), l2a.dn)
        assert optical.scl is not None and optical.scl.startswith("/vsizip/")


def test_products_before_2016_12_name_images_without_folders(make_product: MakeProduct) -> None:
    product = make_product("1C", offset=None)
    folder, granule = product.folder, "S2A_OPER_MSI_L1C_TL_T31UFU_N02.01"
    metadata = folder / "MTD_MSIL1C.xml"
    text = metadata.read_text().replace("IMAGE_FILE>", "IMAGE_ID>").replace("GRANULE/G/IMG_DATA/", "")
    text = (
        text.replace("Granule ", "Granules ")
        .replace("/Granule>", "/Granules>")
        .replace('"G"', f'"{granule}"')
    )
    metadata.unlink()
    (folder / "S2A_OPER_MTD_SAFL1C_PDMC_20160601T120000.xml").write_text(text)
    (folder / "GRANULE" / "G").rename(folder / "GRANULE" / granule)
    (folder / "GRANULE" / granule / "S2A_OPER_MTD_L1C_TL_T31UFU.xml").write_text(GRANULE)
    with open_optical(folder) as optical:
        assert np.array_equal(optical.read(0, 240), product.dn)
        assert optical.sun == SUN


def _changed(product: Any, tmp_path: Path, old: str, new: str) -> Path:
    """The product's metadata with something replaced, in a folder of its own."""
    folder = tmp_path / product.folder.name
    folder.mkdir()
    text = (product.folder / "MTD_MSIL2A.xml").read_text()
    assert old in text
    (folder / "MTD_MSIL2A.xml").write_text(text.replace(old, new))
    return folder


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("GRANULE/G/IMG_DATA/R10m", "../../R10m", InputError, "files inside the product"),
        ("GRANULE/G/IMG_DATA/R10m", "/etc/R10m", InputError, "files inside the product"),
        ("<Granule ", '<Granule granuleIdentifier="other"/><Granule ', InputError, "2 tiles"),
        ("_B", "_X", InputError, "no bands"),
        ('"3">-1000', '"3">none', InputError, "says 'none'; expected a number"),
        ('"3">-1000', '"3">-999', RadiometryError, r"different offsets.*--offset"),
        ("</Granule_List>", "", InputError, "cannot be parsed"),
        ("<n1:General_Info>", "&e;<n1:General_Info>", InputError, "cannot be parsed"),
        ("IMG_DATA/R60m", "IMG_DATA/gone", InputError, r"gone.*B01 of the product"),
    ],
)
def test_broken_metadata(
    l2a: Any, tmp_path: Path, old: str, new: str, error: type[Exception], message: str
) -> None:
    folder = _changed(l2a, tmp_path, old, new)
    with pytest.raises(error, match=message), open_optical(folder):
        pass


def test_entities_are_not_expanded(l2a: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("B02")
    doctype = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]>'
    folder = _changed(l2a, tmp_path, "<n1:Level-2A_User_Product ", doctype + "<n1:Level-2A_User_Product ")
    with pytest.raises(InputError, match=r"cannot be parsed.*DTD"):
        read_safe(str(folder))


def test_zip_that_holds_no_product_or_is_none(tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty.zip", tmp_path / "broken.zip"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme.txt", "hello")
    broken.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"holds 0 files MTD_MSIL1C\.xml"):
        read_safe(str(empty))
    with pytest.raises(InputError, match="cannot be read as a zip"):
        read_safe(str(broken))
    with pytest.raises(InputError, match=r"holds 0 files"), open_optical(tmp_path):
        pass
    with pytest.raises(InputError, match="does not exist"):
        read_safe(str(tmp_path / "gone.SAFE"))


def test_band_of_another_extent(l2a: Any, make_product: MakeProduct, tmp_path: Path) -> None:
    small = make_product(size=120)
    (image,) = small.folder.rglob("*_B05_20m.jp2")
    (target,) = l2a.folder.rglob("*_B05_20m.jp2")
    folder = _changed(l2a, tmp_path, "x", "x")
    (folder / "GRANULE").symlink_to(l2a.folder / "GRANULE")
    kept = target.read_bytes()
    try:
        target.write_bytes(image.read_bytes())
        with pytest.raises(GridMismatchError, match="does not cover the extent"), open_optical(folder):
            pass
    finally:
        target.write_bytes(kept)


GRANULE = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-2A_Tile_Metadata.xsd">
<n1:Geometric_Info><Tile_Angles><Sun_Angles_Grid><Zenith><VALUES>57.4 57.5</VALUES></Zenith></Sun_Angles_Grid>
<Mean_Sun_Angle><ZENITH_ANGLE unit="deg">57.75</ZENITH_ANGLE><AZIMUTH_ANGLE unit="deg">172.5</AZIMUTH_ANGLE>
</Mean_Sun_Angle><Mean_Viewing_Incidence_Angle bandId="0"><ZENITH_ANGLE unit="deg">8</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">100</AZIMUTH_ANGLE></Mean_Viewing_Incidence_Angle></Tile_Angles></n1:Geometric_Info>
</n1:Level-2A_Tile_ID>"""
SUN = Sun(172.5, 32.25)


@pytest.fixture
def sunlit(l2a: Any) -> Iterator[Any]:
    """The product with the metadata of its granule."""
    file = l2a.folder / "GRANULE" / "G" / "MTD_TL.xml"
    file.write_text(GRANULE)
    yield l2a
    file.unlink()


def test_sun_of_a_folder_and_a_zip(
    sunlit: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "cmcr")
    zipped = sunlit.zipped.rename(tmp_path / "here & <there>.zip")
    monkeypatch.chdir(sunlit.folder.parent)
    for path in (
        str(sunlit.folder),
        sunlit.folder.name,
        str(sunlit.folder / "MTD_MSIL2A.xml"),
        str(zipped),
        f"/vsizip/{zipped}",
        f"/vsizip/{zipped}/{sunlit.folder.name}",
    ):
        with open_optical(path) as optical:
            assert optical.sun == SUN, path
        assert caplog.messages == ["sun: azimuth 172.5, elevation 32.2 (product)"]
        caplog.clear()
    with open_optical(sunlit.folder, sun=Sun(10.0, 20.0)) as optical:
        assert optical.sun == Sun(10.0, 20.0)


@pytest.mark.parametrize("zipped", [False, True])
def test_product_without_a_sun(l2a: Any, zipped: bool) -> None:
    with open_optical(l2a.zipped if zipped else l2a.folder) as optical:
        assert optical.sun is None and optical.warnings == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("57.75", "NaN"),
        ("57.75", "90"),
        ("57.75", "122.25"),
        ("57.75", ""),
        ("172.5", "inf"),
        ("172.5", "-172.5"),
        ("Mean_Sun_Angle", "Mean_Moon_Angle"),
        ("ZENITH_ANGLE", "ZENITH"),
        ("</n1:Level-2A_Tile_ID>", ""),
        ("<n1:Geometric_Info>", "&e;<n1:Geometric_Info>"),
        ("<n1:Level-2A_Tile_ID ", '<!DOCTYPE x [<!ENTITY e "172.5">]><n1:Level-2A_Tile_ID '),
        (GRANULE, ""),
        (GRANULE, "\0\0\0"),
    ],
)
def test_sun_that_makes_no_sense_is_unknown(sunlit: Any, old: str, new: str) -> None:
    """It is optional, and never stops a run."""
    assert old in GRANULE
    (sunlit.folder / "GRANULE/G/MTD_TL.xml").write_text(GRANULE.replace(old, new))
    for path in (sunlit.folder, sunlit.zipped):
        assert read_safe(str(path)).sun is None


def test_sun_of_a_file_that_cannot_be_read(sunlit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe, "LARGEST_METADATA", len(GRANULE) - 1)
    assert read_safe(str(sunlit.folder)).sun is None
    assert read_safe(f"/vsizip/{sunlit.zipped}/{sunlit.folder.name}").sun is None
    monkeypatch.setattr(safe, "LARGEST_METADATA", len(GRANULE))
    assert read_safe(str(sunlit.folder)).sun == SUN
    assert read_safe(f"/vsizip/{sunlit.zipped}/{sunlit.folder.name}").sun == SUN


def test_sun_outside_of_the_product_is_refused(l2a: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "MTD_TL.xml").write_text(GRANULE)
    folder = _changed(l2a, tmp_path, "GRANULE/G/IMG_DATA", "../other/IMG_DATA")
    with pytest.raises(InputError, match="files inside the product"):
        read_safe(str(folder))


def test_other_paths_are_no_products(tmp_path: Path) -> None:
    assert not is_safe(str(tmp_path / "s2.tif")) and not is_safe("/vsizip/scene.zip/s2.tif")
    assert is_safe("/vsis3/bucket/S2A_MSIL1C_X.SAFE/")


REAL = {
    "S2A_MSIL1C_20210908T042701_N0301_R133_T46RER_20210908T070248.SAFE": (0, "03.01", "_B05.jp2"),
    "S2A_MSIL2A_20190212T192651_N0212_R013_T07HFE_20201007T160857.SAFE": (0, "02.12", "_B05_20m.jp2"),
    "S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU_20221005T164454.SAFE": (-1000, "04.00", "_B05_20m.jp2"),
    "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157.SAFE": (-1000, "05.09", "_B05_20m.jp2"),
}


REAL_SUN = {
    "T46RER": Sun(142.987598836457, 90 - 26.4931642669439),
    "T07HFE": None,  # its granule is not there
    "T29UNU": Sun(172.840206897213, 90 - 57.820574357679),
    "T01WCP": Sun(174.705217601066, 90 - 42.8949736512547),
}


@pytest.mark.parametrize("name", REAL)
def test_real_metadata(shared_data: Path, name: str) -> None:
    offset, baseline, image = REAL[name]
    product = read_safe(str(shared_data / "scenes/safe" / name))
    assert tuple(product.bands) == (BANDS if "MSIL1C" in name else L2A_BANDS)
    assert (product.offset, product.quantification, product.nodata) == (offset, 10_000, 0)
    assert product.tags["PROCESSING_BASELINE"] == baseline and product.tags["PRODUCT_URI"] == name
    assert product.bands["B05"].endswith(image)
    assert (product.scl is None) == ("MSIL1C" in name)
    assert product.sun == REAL_SUN[name.split("_")[5]]
    time = product.tags["PRODUCT_START_TIME"].partition(".")[0]
    assert time.replace("-", "").replace(":", "") == name.split("_")[2]


@pytest.mark.parametrize("name", REAL)
def test_real_metadata_with_simulated_images(shared_data: Path, make_product: MakeProduct, name: str) -> None:
    level = name[8:10]
    metadata = (shared_data / "scenes/safe" / name / f"MTD_MSIL{level}.xml").read_text()
    product = make_product(level, size=120, metadata=metadata, offset=REAL[name][0])
    with open_optical(product.folder) as optical:
        assert np.array_equal(optical.read(0, 120), product.dn)
        assert check_radiometry(optical) == ()


def test_images_that_are_missing_are_named(shared_data: Path) -> None:
    """The real product has its 60 m bands only."""
    (folder,) = (shared_data / "scenes/safe").glob("S2A_MSIL2A_20221005*")
    with (
        pytest.raises(InputError, match=r"T29UNU_20221005T115411_B01_20m\.jp2.*band B01"),
        open_optical(folder),
    ):
        pass


def test_real_60_m_band_and_scl(shared_data: Path, make_product: MakeProduct) -> None:
    """Real pixels of the real product, which has its bands of 60 m only; the others are simulated."""
    (folder,) = (shared_data / "scenes/safe").glob("S2A_MSIL2A_20221005*")
    product = make_product(metadata=(folder / "MTD_MSIL2A.xml").read_text())
    real = {}
    for name, side in (("B09_60m", 40), ("SCL_20m", 120)):
        (source,) = folder.rglob(f"*_{name}.jp2")
        (target,) = product.folder.rglob(f"*_{name}.jp2")
        with open_raster(source, name) as file:
            # cloud, cirrus and a little ground
            real[name] = file.read(1, window=Window(24 * side, 15 * side, side, side))
            profile = file.profile
        with open_raster(target, name) as file:
            place = {key: file.profile[key] for key in ("crs", "transform", "width", "height")}
        profile = {"driver": "JP2OpenJPEG", "count": 1, "dtype": profile["dtype"], **place}
        with rasterio.open(target, "w", quality=100, reversible=True, **profile) as file:
            file.write(real[name][None])
    with open_optical(product.folder) as optical:
        # Where the wedge of the simulated bands is, this band alone holds no measurement of the scene.
        dn = optical.source.as_stored(0, optical.read(0, 240))[optical.names.index("B09")]
        assert np.array_equal(dn, real["B09_60m"].repeat(6, 0).repeat(6, 1))
        assert len(np.unique(dn)) > 100 and optical.scl is not None
        with open_mask(optical.scl, optical.grid) as mask:
            covered = mask.read(0, 240)
    assert np.array_equal(covered > 0, np.isin(real["SCL_20m"], [3, 8, 9, 10]).repeat(2, 0).repeat(2, 1))
