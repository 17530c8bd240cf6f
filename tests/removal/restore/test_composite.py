from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmcr_cli.output.provenance import NODATA, OBSERVED, RECONSTRUCTED, provenance_of
from cmcr_cli.removal.restore.composite import composite, match_offsets
from cmcr_cli.scene.radiometry import Radiometry


def scene_of(dtype: str, nodata: float | None, offset: float) -> Any:
    return SimpleNamespace(dtype=np.dtype(dtype), nodata=nodata, radiometry=Radiometry(offset))


def bits(dn: NDArray[Any]) -> Tensor:
    return torch.from_numpy(dn.view(np.int16))


def test_harmonising_carries_the_offset_of_clear_ground_into_the_hole() -> None:
    torch.manual_seed(0)
    truth = torch.rand(1, 13, 256, 256) * 0.02 + 0.2
    clear = torch.ones(1, 1, 256, 256)
    clear[..., 90:170, 60:200] = 0
    restored = truth + 0.03
    mended = match_offsets(restored, truth, clear)
    assert float((mended - truth).abs().max()) < 0.004


def test_harmonising_changes_nothing_where_it_knows_nothing() -> None:
    restored, observed = torch.rand(2, 13, 256, 256), torch.rand(2, 13, 256, 256)
    assert torch.equal(match_offsets(restored, observed, torch.zeros(2, 1, 256, 256)), restored)
    assert torch.equal(match_offsets(restored, restored, torch.ones(2, 1, 256, 256)), restored)


def test_composite_keeps_bits_mixes_by_strength_and_says_which() -> None:
    dn = np.full((3, 2, 4), 1500, np.uint16)
    dn[:, 0, 0] = 0
    dn[:, 0, 3] = 65_535
    strength = np.array([[1, 1, 0.5, 0], [0, 0, 1, 1]], np.float32)
    valid, optical = dn[0] > 0, scene_of("uint16", 0, -1000)
    found = composite(
        bits(dn), torch.full((3, 2, 4), 0.25), torch.from_numpy(strength), torch.from_numpy(valid), optical
    )
    assert found[0].numpy().view(np.uint16).tolist() == [[0, 3500, 2500, 65_535], [1500, 1500, 3500, 3500]]
    assert provenance_of(valid, strength).tolist() == [
        [NODATA, RECONSTRUCTED, RECONSTRUCTED, OBSERVED],
        [OBSERVED, OBSERVED, RECONSTRUCTED, RECONSTRUCTED],
    ]
    assert dn[0, 0, 1] == 1500, "what came in must stay as it was"


def test_composite_never_makes_nodata() -> None:
    everywhere = torch.ones(1, 2)
    found = composite(
        bits(np.full((1, 1, 2), 40, np.uint16)),
        torch.zeros(1, 1, 2),
        everywhere,
        everywhere > 0,
        scene_of("uint16", 0, 0),
    )
    assert (found == 1).all()
