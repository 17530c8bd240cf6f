from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cmcr_cli.errors import OutputError, WeightsError
from cmcr_cli.model import weights as weights_file
from cmcr_cli.model.cloud_network import CloudConfig, CloudNetwork
from cmcr_cli.model.diffusion import Denoiser, DiffusionConfig
from cmcr_cli.model.weights import Weights, load, replacing, save, writing

Edit = Callable[[dict[str, Tensor], dict[str, Any]], object]


@pytest.fixture
def weights(tiny_denoiser: Callable[..., Denoiser], shake: Callable[[nn.Module], None]) -> Weights:
    clouds = CloudNetwork(CloudConfig((8, 16), 8))
    shake(clouds)
    card = {"name": "tiny", "history": {"teacher": {"images": 32, "note": "ä"}}}
    denoiser = tiny_denoiser(DiffusionConfig(alpha=0.25, sigma_max=15.0))
    return Weights(denoiser, clouds, torch.rand(13), torch.rand(13), card)


@pytest.fixture
def saved(tmp_path: Path, weights: Weights) -> Path:
    path = tmp_path / "tiny.safetensors"
    save(path, weights)
    return path


def edited(path: Path, edit: Edit) -> Path:
    """The same file with its tensors or its metadata changed."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["cmcr"])
    edit(tensors, header)
    save_file(tensors, path, metadata={"cmcr": json.dumps(header)})
    return path


def refused(path: Path) -> str:
    """The message with which `path` is refused; it names the file and the option."""
    with pytest.raises(WeightsError) as error:
        load(path)
    message = str(error.value)
    assert error.value.exit_code == 3
    assert str(path) in message
    assert "--weights" in message
    return message


def test_round_trip(saved: Path, weights: Weights) -> None:
    again = load(saved)
    for name in ("denoiser", "clouds"):
        before, after = getattr(weights, name).state_dict(), getattr(again, name).state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(again.mean, weights.mean)
    assert torch.equal(again.std, weights.std)
    assert again.denoiser.network_config == weights.denoiser.network_config
    assert again.denoiser.diffusion == weights.denoiser.diffusion
    assert again.clouds.config == weights.clouds.config
    assert again.card == weights.card
    assert again.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert again.label == f"tiny {again.sha256[:12]}"


def test_what_lies_on_disk(saved: Path, weights: Weights) -> None:
    assert [path.name for path in saved.parent.iterdir()] == ["tiny.safetensors"]
    assert {value.dtype for value in load_file(saved).values()} == {torch.float32}
    save(saved.with_name("again.safetensors"), load(saved))
    assert saved.with_name("again.safetensors").read_bytes() == saved.read_bytes()


def test_half_precision_and_channels_last_are_saved_as_plain_float32(
    tmp_path: Path, weights: Weights
) -> None:
    expected = {k: v.half().float() for k, v in weights.denoiser.state_dict().items()}
    weights.denoiser.half().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    path = tmp_path / "half.safetensors"
    save(path, weights)
    assert {value.dtype for value in load_file(path).values()} == {torch.float32}
    found = load(path).denoiser.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_saving_replaces_the_file_before(saved: Path, weights: Weights) -> None:
    weights.mean[:] = 7
    save(saved, weights)
    assert load(saved).mean.eq(7).all()
    assert list(saved.parent.iterdir()) == [saved]


def test_missing(tmp_path: Path) -> None:
    assert "no such" in refused(tmp_path / "none.safetensors")


def test_folder(tmp_path: Path) -> None:
    refused(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert "not a readable safetensors file" in refused(saved)


def test_another_kind_of_file(saved: Path) -> None:
    saved.write_bytes(b"II*\0" + bytes(4000))
    assert "not a readable safetensors file" in refused(saved)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"format": "pt"}, {"cmcr": "{"}, {"cmcr": "[]"}, {"cmcr": "{}"}]
)
def test_safetensors_of_another_project(saved: Path, metadata: dict[str, str] | None) -> None:
    save_file(load_file(saved), saved, metadata=metadata)
    assert "no cmcr metadata" in refused(saved)


def test_another_format(saved: Path) -> None:
    message = refused(edited(saved, lambda tensors, header: header.update(format=99)))
    assert "99" in message
    assert str(weights_file.FORMAT) in message


@pytest.mark.parametrize("name", ["mean", "denoiser.step.head.weight", "clouds.stem.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(saved: Path, name: str, value: float) -> None:
    def spoil(tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        tensors[name].view(-1)[-1] = value

    assert "NaN" in refused(edited(saved, spoil))


EDITS: dict[str, Edit] = {
    "wider network": lambda tensors, header: header["network"].update(widths=[8, 8, 16]),
    "other depth": lambda tensors, header: header["network"].update(widths=[8, 8]),
    "unknown setting": lambda tensors, header: header["network"].update(attention=True),
    "unknown diffusion": lambda tensors, header: header["diffusion"].update(beta=1),
    "settings as a list": lambda tensors, header: header.update(network=[8, 8, 8]),
    "no settings": lambda tensors, header: header.pop("clouds"),
    "no card": lambda tensors, header: header.pop("card"),
    "wider clouds": lambda tensors, header: header["clouds"].update(near=[8, 32]),
    "clouds that look farther": lambda tensors, header: header["clouds"].update(far=16),
    "clouds without far": lambda tensors, header: header["clouds"].pop("far"),
    "tensor missing": lambda tensors, header: tensors.pop("denoiser.step.stem.bias"),
    "tensor too many": lambda tensors, header: tensors.update({"clouds.extra": torch.zeros(1)}),
    "no statistics": lambda tensors, header: tensors.pop("spread"),
    "12 bands": lambda tensors, header: tensors.update(mean=torch.zeros(12)),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_another_architecture(saved: Path, edit: Edit) -> None:
    assert "do not fit" in refused(edited(saved, edit))


def test_default_weights_are_found_or_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_file, "DEFAULT_NAME", "absent.safetensors")
    with pytest.raises(WeightsError, match="--weights"):
        weights_file.default_path()


@pytest.mark.parametrize("place", [0.3, 0.7, 0.999])
def test_one_flipped_bit_in_the_tensors(saved: Path, place: float) -> None:
    """As a bad disk or a careless hand does it: the value stays finite, and nothing else tells."""
    content = bytearray(saved.read_bytes())
    content[int(place * len(content)) // 4 * 4] ^= 1
    saved.write_bytes(content)
    assert "damaged or was changed" in refused(saved)


def test_constants_that_were_changed_in_the_metadata(saved: Path) -> None:
    def edit(tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        header["diffusion"]["sigma_data"] *= 2

    assert "damaged or was changed" in refused(edited(saved, edit))


def test_files_of_before_have_no_digest(saved: Path, weights: Weights) -> None:
    assert load(edited(saved, lambda tensors, header: header.pop("digest"))).card == weights.card


def test_another_file_under_the_name_of_the_release(saved: Path) -> None:
    assert load(weights_file.default_path()).sha256 == weights_file.DEFAULT_SHA256
    other = saved.rename(saved.with_name(weights_file.DEFAULT_NAME))
    assert "released under this name" in refused(other)


# Files that are replaced


def test_a_file_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"] and path.read_text() == "new"


@pytest.mark.parametrize("fault", ["write", "sync", "interrupt"])
def test_the_old_file_stays_where_a_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if fault == "sync":
        monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(KeyboardInterrupt if fault == "interrupt" else OutputError) as caught,
        replacing(path) as part,
    ):
        part.write_text("ne")
        if fault == "write":
            full(0)
        if fault == "interrupt":
            raise KeyboardInterrupt
    assert fault == "interrupt" or "No space left on device" in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"] and path.read_text() == "old"


def test_errors_of_libraries_are_told_and_others_pass(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), replacing(tmp_path / "none" / "w") as part:
        save_file({"a": torch.zeros(1)}, part)
    with pytest.raises(ValueError, match="other"), writing(tmp_path):
        raise ValueError("other")
    with pytest.raises(OutputError, match=r"^as it is$"), writing(tmp_path):
        raise OutputError("as it is")
