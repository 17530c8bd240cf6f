from __future__ import annotations

import json
import logging
import re
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from cmcr_cli.cli.main import main
from cmcr_cli.cli.stopping import STOPS
from cmcr_cli.scene.bands import BANDS

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `cuda` need a GPU."""
    if item.get_closest_marker("cuda"):
        import torch  # here and below: 4 CPU seconds, also in the process that only hands out tests

        if not torch.cuda.is_available():
            pytest.skip("no GPU that CUDA can use")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real imagery beside the project; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("real imagery is not beside this checkout (expected ../shared/data)")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def _stoppable() -> None:
    """Signals that stop a run do so in the tests, however these were started.

    A shell that starts them in the background, or nohup, lets them ignore some. The runs that they start
    would inherit that. A handler is not inherited: theirs is the default again.
    """
    for number in STOPS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _unheeded)


def _unheeded(number: int, frame: FrameType | None) -> None:
    """Go on as if the signal were ignored, which nohup wants of the tests themselves."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks on one thread, as workers have them on a CPU."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cmcr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Ended]]:
    """`cmcr ARGS...` in this process; what it sets up for a whole process is put back."""
    for name in ("CMCR_WEIGHTS", "CMCR_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    root, ours = logging.getLogger(), logging.getLogger("cmcr")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    on_signals = {number: signal.getsignal(number) for number in STOPS}
    for hook in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))

    def run(*args: object) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(arg) for arg in args])
        printed = capsys.readouterr()
        return Ended(int(end.value.code or 0), printed.out, printed.err)

    yield run
    logging.captureWarnings(False)
    for number, handler in on_signals.items():
        signal.signal(number, handler)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture(scope="session")
def built_sen12mscr(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Makes what `sen12mscr` copies, once for each `cirrus`; to be read only."""

    @cache
    def build(cirrus: int) -> Path:
        folder = tmp_path_factory.mktemp("sen12mscr")
        rois = [("ROIs1158_spring", n) for n in (1, 31, 106)] + [("ROIs1868_summer", n) for n in (17, 119)]
        clear = np.full((13, 256, 256), 1000, np.uint16)
        clear[BANDS.index("B10")] = cirrus
        cloudy = clear.copy()
        cloudy[:, :128] = 8000
        images: dict[str, NDArray[np.generic]] = {
            "s1": np.full((2, 256, 256), -12, np.float32),
            "s2": clear,
            "s2_cloudy": cloudy,
        }
        for season, roi in rois:
            for kind, values in images.items():
                place = folder / f"{season}_{kind}" / f"{kind}_{roi}"
                for patch in (30, 31):
                    _write(place / f"{season}_{kind}_{roi}_p{patch}.tif", values)
        return folder

    return build


@pytest.fixture
def sen12mscr(tmp_path: Path, built_sen12mscr: Callable[[int], Path]) -> Callable[..., Path]:
    """Makes a SEN12MS-CR of five ROIs of two patches: flat ground, the upper half of it overcast.

    `cirrus`: DN of B10 over all of the clear images.
    """

    def build(cirrus: int = 10) -> Path:
        return shutil.copytree(built_sen12mscr(cirrus), tmp_path / "SEN12MS-CR")

    return build


def _write(path: Path, values: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype,
        compress="deflate", crs="EPSG:32631", transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as file:  # fmt: skip
        file.write(values)


@pytest.fixture
def make_labels(tmp_path: Path) -> Callable[[dict[str, dict[str, Any]]], Path]:
    """Makes a data folder with labels/ of made-up images, by name.

    Each has `dn` (13, H, W), and may have `present`, `network`, `joined` and `by_eye` (H, W), `verdict`,
    `level` and `source`; `dn` None leaves the file out.
    """

    def make(images: dict[str, dict[str, Any]]) -> Path:
        folder = tmp_path / "labelled"
        labels = folder / "labels"
        labels.mkdir(parents=True)
        items, rows = [], ["name,group,level,verdict"]
        masks: dict[str, dict[str, Any]] = {"network": {}, "joined": {}, "by_eye": {}}
        arrays: dict[str, list[Any]] = {}
        for name, image in images.items():
            dn, present = image["dn"], image.get("present", np.ones(13, bool))
            level, source = image.get("level", "L1C"), image.get("source", "made")
            items.append(
                {"name": name, "group": source, "level": level, "present": present.astype(int).tolist()}
            )
            if "verdict" in image:
                rows.append(f"{name},{source},{level},{image['verdict']}")
            blank = np.zeros((8, 8) if dn is None else dn.shape[1:], np.uint8)
            masks["network"][name] = image.get("network", blank)
            for kind in ("joined", "by_eye"):
                if kind in image:
                    masks[kind][name] = image[kind]
            stem, _, role = name.rpartition("_")
            if dn is not None and name.startswith(("tri_", "pair_")):
                kind, _, scene = stem.partition("_")
                where = folder / {"tri": "triplets", "pair": "pairs_s2"}[kind] / scene
                _write(where / f"s2_{role}.tif", dn)
            elif dn is not None and name == "mamba":
                _write(folder / "scenes" / "mamba_1" / "s2_cloudy.tif", dn)
            elif dn is not None and name == "thailand":
                _write(
                    folder / "scenes" / "thailand_L2A_12band.tif", np.delete(dn, BANDS.index("B10"), axis=0)
                )
            elif dn is not None:
                arrays.setdefault(stem, []).append(dn)
        (folder / "optical").mkdir(exist_ok=True)
        for stem, dates in arrays.items():
            np.savez(folder / "optical" / f"{stem}.npz", s2=np.stack(dates), s2_present=np.ones(13, bool))
        (labels / "items.json").write_text(json.dumps(items))
        (labels / "images_by_eye.csv").write_text("\n".join(rows) + "\n")
        for kind, file in {
            "network": "network",
            "joined": "network_b10_spectral",
            "by_eye": "by_eye",
        }.items():
            np.savez(labels / f"{file}.npz", **masks[kind])
        return folder

    return make


PRODUCT_METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd">
<n1:General_Info><Product_Info><PRODUCT_START_TIME>2024-06-01T10:20:31.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>{uri}</PRODUCT_URI><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<Product_Organisation><Granule_List><Granule granuleIdentifier="G" imageFormat="JPEG2000">{files}</Granule>
</Granule_List></Product_Organisation></Product_Info><Product_Image_Characteristics>
<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
</Special_Values><Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
<SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>{offsets}
</Product_Image_Characteristics></n1:General_Info></n1:Level-{level}_User_Product>"""

METRES = dict.fromkeys((*BANDS, "SCL"), 20) | dict.fromkeys(("B02", "B03", "B04", "B08"), 10)
METRES |= dict.fromkeys(("B01", "B09", "B10"), 60)


@dataclass(frozen=True)
class MadeProduct:
    """A product on disk, and what a reader should find in it: DN on the 10 m grid, and SCL (rows, cols)."""

    folder: Path
    dn: NDArray[np.uint16]
    scl: NDArray[np.uint8]

    @property
    def zipped(self) -> Path:
        """The product as a zip beside it."""
        target = self.folder.with_name(self.folder.name + ".zip")
        with zipfile.ZipFile(target, "w") as archive:
            for file in sorted(self.folder.rglob("*")):
                archive.write(file, file.relative_to(self.folder.parent))
        return target


@pytest.fixture(scope="session")
def make_product(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., MadeProduct]:
    """Makes products of `size` x `size` pixels of 10 m with lossless JPEG 2000 files, half of it cloud.

    `metadata` is that of a real product, else it is made up; the JPEG 2000 files are named by it.
    """

    from cmcr_cli.simulate import simulate_window  # with scipy, which is slow to import

    simulated = cache(lambda size: simulate_window(7, 0, 0, size, size, 0.4))

    def make(
        level: str = "2A", size: int = 240, offset: int | None = -1000, metadata: str | None = None
    ) -> MadeProduct:
        uri = f"S2A_MSIL{level}_20240601T102031_N0510_R065_T31UFU_20240601T120000.SAFE"
        names = [name for name in BANDS if (level, name) != ("2A", "B10")] + ["SCL"] * (level == "2A")
        if metadata is None:
            metadata = _product_metadata(level, uri, names, offset)
        folder = tmp_path_factory.mktemp("product") / uri
        folder.mkdir()
        (folder / f"MTD_MSIL{level}.xml").write_text(metadata)
        scene = simulated(size)
        dn = np.rint(scene.cloudy * 10_000 - (offset or 0)).clip(1, 65_534).astype(np.uint16)
        dn[:, :30, :60] = 0  # the corner that a swath leaves empty
        found = {}
        for name in names:
            pixels = scene.mask if name == "SCL" else dn[BANDS.index(name)]
            (image,) = sorted(re.findall(rf"<IMAGE_FILE>([^<]+_{name}(?:_\d0m)?)</IMAGE_FILE>", metadata))[:1]
            said = re.search(r"_(\d0)m$", image)
            metres = int(said[1]) if said else METRES[name]
            step = metres // 10
            found[name] = pixels[::step, ::step]
            path = folder / f"{image}.jp2"
            path.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(
                path, "w", driver="JP2OpenJPEG", width=size // step, height=size // step, count=1,
                dtype=pixels.dtype, crs="EPSG:32631", quality=100, reversible=True,
                transform=rasterio.Affine(metres, 0, 600_900, 0, -metres, 5_901_840),
            ) as file:  # fmt: skip
                file.write(found[name][None])
            found[name] = found[name].repeat(step, 0).repeat(step, 1)
        scl = found.pop("SCL", scene.mask)
        return MadeProduct(folder, np.stack(list(found.values())), scl)

    return make


def _product_metadata(level: str, uri: str, names: list[str], offset: int | None) -> str:
    files = []
    for name in names:
        place = f"GRANULE/G/IMG_DATA/T31UFU_20240601T102031_{name}"
        if level == "2A":
            place = place.replace("/T31", f"/R{METRES[name]}m/T31") + f"_{METRES[name]}m"
        files.append(f"<IMAGE_FILE>{place}</IMAGE_FILE>")
    element = "BOA_ADD_OFFSET" if level == "2A" else "RADIO_ADD_OFFSET"
    offsets = [f'<{element} band_id="{i}">{offset}</{element}>' for i in range(13) if offset is not None]
    return PRODUCT_METADATA.format(
        level=level, uri=uri, files="".join(files), offsets="".join(offsets),
        baseline="05.10" if offset else "03.01",
    )  # fmt: skip
