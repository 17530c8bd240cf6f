"""Products in EOPF Zarr, of the structure that is published, written without any library of Zarr."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmcr_cli.scene.bands import BANDS, L2A_BANDS

NAME = "S2B_MSIL{}_20240601T102031_N0511_R065_T31UFU_20240601T120000.zarr"
WEST, NORTH = 600_000, 5_900_040
REFLECTANCE = "measurements/reflectance"
METRES = dict.fromkeys(BANDS, 20) | dict.fromkeys(("B02", "B03", "B04", "B08"), 10)
METRES |= dict.fromkeys(("B01", "B09", "B10"), 60)


class Eopf:
    """A product on disk, and the DN (bands, size, size) and SCL that a reader should find on the 10 m grid.

    Args:
        folder: In which it is made.
        level: 1C or 2A.
        size: Pixels of 10 m along each side; a multiple of 12.
        version: Of Zarr.
        sharded: Whether chunks of v3 are in shards.
    """

    def __init__(
        self, folder: Path, level: str = "2A", size: int = 120, version: int = 2, *, sharded: bool = False
    ) -> None:
        self.root = folder / NAME.format(level)
        self.names = BANDS if level == "1C" else L2A_BANDS
        self._version, self._sharded = version, sharded
        self._nodes: dict[str, Any] = {}
        rng = np.random.default_rng(7)
        self.group("", self._attributes(level))
        for group in ("measurements", REFLECTANCE, *(f"{REFLECTANCE}/r{metres}m" for metres in (10, 20, 60))):
            self.group(group, {})
        bands = []
        for name in self.names:
            metres = METRES[name]
            pixels = rng.integers(1200, 4000, (size * 10 // metres,) * 2).astype("<u2")
            pixels[: 120 // metres, : 120 // metres] = 0
            bands.append(pixels.repeat(metres // 10, 0).repeat(metres // 10, 1))
            stated = {
                "scale_factor": 0.0001,
                "add_offset": -0.1,
                "proj:epsg": 32631,
                "units": "digital_counts",
            }
            stated["proj:bbox"] = [WEST, NORTH - 10 * size, WEST + 10 * size, NORTH]
            self.array(f"{REFLECTANCE}/r{metres}m/{name.lower()}", pixels, stated)
        # The finest of a band counts; this one is another.
        self.array(f"{REFLECTANCE}/r60m/b02", np.full((size // 6,) * 2, 9, "<u2"), stated)
        for metres in (10, 20, 60):
            centres = metres * (np.arange(size * 10 // metres) + 0.5)
            self.array(f"{REFLECTANCE}/r{metres}m/x", WEST + centres, {})
            self.array(f"{REFLECTANCE}/r{metres}m/y", NORTH - centres, {})
        self.dn = np.stack(bands)
        self.scl = rng.integers(1, 12, (size // 2,) * 2).astype("u1")
        if level == "2A":
            self.array("conditions/mask/l2a_classification/r20m/scl", self.scl, {"proj:epsg": 32631})
        self.consolidate()

    def group(self, path: str, attributes: dict[str, Any]) -> None:
        if self._version == 3:
            self._nodes[path] = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        else:
            self._nodes[f"{path}/.zgroup".lstrip("/")] = {"zarr_format": 2}
            self._nodes[f"{path}/.zattrs".lstrip("/")] = attributes

    def array(self, path: str, pixels: NDArray[Any], attributes: dict[str, Any]) -> None:
        """Write chunks of half the size, so that there are four, and no chunk that is nodata."""
        side = -(-pixels.shape[0] // 2) if pixels.ndim == 2 else len(pixels)
        dimensions = ["y", "x"] if pixels.ndim == 2 else [path[-1]]
        fill = None if pixels.dtype.kind == "f" else 0
        if self._version == 3:
            codecs: list[Any] = [{"name": "bytes", "configuration": {"endian": "little"}}]
            if self._sharded:
                inner = {"chunk_shape": [side] * pixels.ndim, "codecs": codecs, "index_codecs": codecs}
                codecs = [{"name": "sharding_indexed", "configuration": inner}]
            self._nodes[path] = {
                "zarr_format": 3, "node_type": "array", "shape": [*pixels.shape],
                "data_type": pixels.dtype.name, "dimension_names": dimensions,
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [side] * pixels.ndim}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "codecs": codecs, "fill_value": fill or 0, "attributes": attributes,
            }  # fmt: skip
        else:
            self._nodes[f"{path}/.zarray"] = {
                "zarr_format": 2, "shape": [*pixels.shape], "chunks": [side] * pixels.ndim, "order": "C",
                "dtype": pixels.dtype.str, "compressor": {"id": "zlib", "level": 1}, "filters": None,
                "fill_value": fill, "dimension_separator": ".",
            }  # fmt: skip
            self._nodes[f"{path}/.zattrs"] = attributes | {"_ARRAY_DIMENSIONS": dimensions}
        steps = range(2 if pixels.ndim == 2 else 1)
        for key in ((i, j) for i in steps for j in steps) if pixels.ndim == 2 else ((0,),):
            part = pixels[tuple(slice(n * side, (n + 1) * side) for n in key)]
            whole = np.zeros((side,) * pixels.ndim, pixels.dtype)
            whole[tuple(slice(length) for length in part.shape)] = part
            if not part.any():
                continue
            if self._version == 3:
                file, data = self.root / path / "c" / "/".join(map(str, key)), whole.tobytes()
                data += np.array([0, len(data)], "<u8").tobytes() * self._sharded  # the index of one chunk
            else:
                file, data = self.root / path / ".".join(map(str, key)), zlib.compress(whole.tobytes(), 1)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)

    def consolidate(self, **changes: Any) -> None:
        """Write the metadata; `changes` are attributes of all arrays of bands, None to take one off."""
        for path, node in self._nodes.items():
            own = node.get("attributes", node) if self._version == 3 else node
            if changes and "/b" in path and (self._version == 3 or path.endswith(".zattrs")):
                own.update(changes)
                for name in [name for name, value in changes.items() if value is None]:
                    del own[name]
            file = self.root / path / ("zarr.json" if self._version == 3 else "")
            file.parent.mkdir(parents=True, exist_ok=True)
            if path or self._version == 2:
                file.write_text(json.dumps(node))
        self.root.mkdir(parents=True, exist_ok=True)
        if self._version == 3:
            inner = {path: node for path, node in self._nodes.items() if path}
            whole = self._nodes[""] | {"consolidated_metadata": {"kind": "inline", "metadata": inner}}
            (self.root / "zarr.json").write_text(json.dumps(whole))
        else:
            whole = {"metadata": self._nodes, "zarr_consolidated_format": 1}
            (self.root / ".zmetadata").write_text(json.dumps(whole))

    def chunk(self, band: str, key: str = "1.1") -> Path:
        return self.root / f"{REFLECTANCE}/r{METRES[band]}m/{band.lower()}/{key}"

    @staticmethod
    def _attributes(level: str) -> dict[str, Any]:
        angles = {"azimuth": 158.5, "zenith": 30.25}
        return {
            "stac_discovery": {
                "id": "S02MSIL2A_20240601T102031_00000_B0065_T8BB",
                "properties": {
                    "datetime": "2024-06-01T10:20:31.024000Z",
                    "processing:level": f"L{level}",
                    "processing:version": "1.0.0",
                    "eopf:datatake_id": "GS2B_20240601T102031_048954_N05.11",
                    "proj:epsg": 32631,
                },
            },
            "other_metadata": {
                f"mean_sun_{name}_angle_in_deg_for_all_bands_all_detectors": value
                for name, value in angles.items()
            },
        }
