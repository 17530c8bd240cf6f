"""Weights files: safetensors whose metadata hold the architecture, a digest and the model card."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cmcr_cli.errors import OutputError, WeightsError
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.condition import N_BANDS
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.network import NetworkConfig

FORMAT = 3
DEFAULT_NAME = "cmcr-0.5.safetensors"
DEFAULT_SHA256 = "05171d37d34277a831df5bdab9f44b1046e27766f506948104761acf5759deb0"
"""Checksum of the weights that come with cmcr; change name and checksum together at a release."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Content of one weights file.

    Attributes:
        denoiser: The network that restores: a student, or a teacher during training.
        clouds: The cloud network.
        mean: (13,) mean reflectance of clear ground in the training data.
        std: (13,) standard deviation of the same, reflectance.
        card: Model card: how the weights were made.
        sha256: Checksum of the file.
    """

    denoiser: Denoiser
    clouds: CloudNetwork
    mean: Tensor
    std: Tensor
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    @property
    def label(self) -> str:
        """Name and first digits of the checksum, as in the tags of every output."""
        return f"{self.card.get('name', 'unnamed')} {self.sha256[:12]}"


def default_path() -> Path:
    """Find the weights that come with cmcr: in the installed package, or beside it in a checkout.

    Returns:
        Their path.

    Raises:
        WeightsError: There are none.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_weights", package.parent / "weights"):
        if (folder / DEFAULT_NAME).is_file():
            return folder / DEFAULT_NAME
    raise WeightsError(
        f"{DEFAULT_NAME} was not found in the installation; reinstall cmcr, or name a file with --weights"
    )


def save(path: Path, weights: Weights) -> None:
    """Write a weights file, with all tensors as float32. The file is replaced atomically.

    Args:
        path: File to write.
        weights: Networks, statistics and model card.

    Raises:
        OutputError: The file cannot be written.
    """
    tensors = {"mean": weights.mean, "spread": weights.std}
    tensors |= {f"denoiser.{k}": v for k, v in weights.denoiser.state_dict().items()}
    tensors |= {f"clouds.{k}": v for k, v in weights.clouds.state_dict().items()}
    header: dict[str, Any] = {
        "format": FORMAT,
        "network": asdict(weights.denoiser.network_config),
        "diffusion": asdict(weights.denoiser.diffusion),
        "clouds": asdict(weights.clouds.config),
        "card": weights.card,
    }
    plain = {k: v.detach().float().cpu().contiguous() for k, v in tensors.items()}
    header["digest"] = _digest(header, plain)
    with replacing(path) as part:
        save_file(plain, part, metadata={"cmcr": json.dumps(header)})


def load(path: Path) -> Weights:
    """Read a weights file and verify its digest.

    Args:
        path: File to read.

    Returns:
        Networks, statistics and model card.

    Raises:
        WeightsError: The file is missing, damaged, or of another format or architecture.
    """
    try:
        found = path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        found = False
    if not found:
        raise WeightsError(f"{path}: no such weights file; expected a cmcr .safetensors file, see --weights")
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(path, file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path}: not a readable safetensors file ({error}); see --weights") from error
    try:
        denoiser = Denoiser(_network(header["network"]), DiffusionConfig(**header["diffusion"]))
        clouds = CloudNetwork(CloudConfig(tuple(header["clouds"]["near"]), header["clouds"]["far"]))
        denoiser.load_state_dict(_part(tensors, "denoiser."))
        clouds.load_state_dict(_part(tensors, "clouds."))
        mean, std = (tensors[name].reshape(N_BANDS) for name in ("mean", "spread"))
        card = dict(header["card"])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: the tensors do not fit the architecture that its metadata names "
            f"({str(error).splitlines()[0]}); expected weights made by this version of cmcr, see --weights"
        ) from error
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise WeightsError(f"{path}: holds NaN or infinite values; expected finite weights, see --weights")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    changed = header.get("digest", _digest(header, tensors)) != _digest(header, tensors)
    if changed or (path.name == DEFAULT_NAME and sha256 != DEFAULT_SHA256):
        raise WeightsError(
            f"{path}: is not what was saved or released under this name (sha256 {sha256[:12]}); it is "
            "damaged or was changed. Copy or download it again, see --weights"
        )
    return Weights(denoiser, clouds, mean, std, card, sha256)


def _digest(header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Checksum of header and tensors, without the digest itself."""
    plain = {key: value for key, value in header.items() if key != "digest"}
    found = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].numpy().tobytes())
    return found.hexdigest()


def _header(path: Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads((metadata or {})["cmcr"])
        found = header["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: has no cmcr metadata; expected weights written by cmcr, see --weights"
        ) from error
    if found != FORMAT:
        raise WeightsError(
            f"{path}: weights format {found}; this version of cmcr reads format {FORMAT}. "
            "Name weights of this version with --weights, or use another version of cmcr"
        )
    return header


def _network(values: dict[str, Any]) -> NetworkConfig:
    sizes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return NetworkConfig(**sizes)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the disk into OutputError.

    Args:
        path: File or folder that is written, for messages.

    Yields:
        Nothing; errors of what is done meanwhile are turned.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{path}: cannot be written ({error}); expected a writable folder with free space. Free some, "
            "and give the same command again, or choose another folder."
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file by one that is complete and synchronized to disk.

    Args:
        path: The file; it need not exist.

    Yields:
        Path of the file to write, beside it; nothing is left of it after an error.

    Raises:
        OutputError: It cannot be written.
    """
    part = path.with_name(path.name + ".part")
    with writing(path):
        try:
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
