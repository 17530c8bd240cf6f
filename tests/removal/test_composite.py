from __future__ import annotations

import numpy as np
import torch

from cmcr_cli.removal.composite import composite, harmonise
from cmcr_cli.scene.bands import Radiometry
from cmcr_cli.scene.cog import NODATA, OBSERVED, RECONSTRUCTED


def test_harmonising_carries_the_offset_of_clear_ground_into_the_hole() -> None:
    torch.manual_seed(0)
    truth = torch.rand(1, 13, 256, 256) * 0.02 + 0.2
    clear = torch.ones(1, 1, 256, 256)
    clear[..., 90:170, 60:200] = 0
    restored = truth + 0.03
    mended = harmonise(restored, truth, clear)
    assert float((mended - truth).abs().max()) < 0.004


def test_harmonising_changes_nothing_where_it_knows_nothing() -> None:
    restored, observed = torch.rand(2, 13, 256, 256), torch.rand(2, 13, 256, 256)
    assert torch.equal(harmonise(restored, observed, torch.zeros(2, 1, 256, 256)), restored)
    assert torch.equal(harmonise(restored, restored, torch.ones(2, 1, 256, 256)), restored)


def test_composite_keeps_bits_mixes_by_strength_and_says_which() -> None:
    dn = np.full((3, 2, 4), 1500, np.uint16)
    dn[:, 0, 0] = 0
    restored = np.full((3, 2, 4), 0.25, np.float32)
    strength = np.array([[1, 1, 0.5, 0], [0, 0, 1, 1]], np.float32)
    out, provenance = composite(dn, restored, strength, dn[0] > 0, Radiometry(offset=-1000), 0)
    assert provenance.tolist() == [
        [NODATA, RECONSTRUCTED, RECONSTRUCTED, OBSERVED],
        [OBSERVED, OBSERVED, RECONSTRUCTED, RECONSTRUCTED],
    ]
    assert out[0].tolist() == [[0, 3500, 2500, 1500], [1500, 1500, 3500, 3500]]


def test_composite_never_makes_nodata() -> None:
    dn = np.full((1, 1, 2), 40, np.uint16)
    out, _ = composite(
        dn, np.zeros((1, 1, 2), np.float32), np.ones((1, 2), np.float32), dn[0] > 0, Radiometry(), 0
    )
    assert (out == 1).all()
