from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmcr_cli.evaluation import regimes
from cmcr_cli.evaluation.regimes import HEAVY, NONE, OWN, USUAL, by_regime, regime_tables, score_regimes
from cmcr_cli.evaluation.restoration import CONTEXT, Comparison, Scored
from cmcr_cli.model.weights import Weights
from cmcr_cli.simulate import simulate_window
from cmcr_cli.training.data.images import Array, Pair
from cmcr_cli.training.metrics import psnr

COLOUR = np.full(13, 0.2, np.float32)


@pytest.fixture
def pair() -> Pair:
    window = simulate_window(4, 0, 0, 96, 96, 0.0)
    truth = window.truth.copy()
    truth[10] = 0.001
    return Pair(truth, truth, np.zeros((96, 96), np.float32), window.radar)


@pytest.fixture
def setting(weights: Weights) -> Comparison:
    return Comparison.of(weights, COLOUR, steps=(1,), samples=1)


@pytest.fixture(autouse=True)
def skies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skies that take no time: thick cloud over all columns from a random one on."""

    def under_sky(clear: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        opacity = np.zeros(clear.shape[1:], np.float32)
        opacity[:, rng.integers(opacity.shape[1]) :] = 1
        return np.where(opacity > 0, np.float32(0.8), clear), opacity, np.zeros_like(opacity)

    monkeypatch.setattr(regimes, "under_sky", under_sky)


def test_regimes_have_the_cover_that_they_say(pair: Pair, setting: Comparison) -> None:
    checks = list(by_regime([("one", pair)], [], setting))
    assert [each.regime for each in checks] == [NONE, HEAVY, HEAVY + OWN, USUAL, USUAL + OWN] * 2
    for each in checks:
        cover, ground = float((each.truly > 0).mean()), each.check.scene.ground
        assert ground.present[10] == each.check.name.endswith("0")
        assert np.array_equal(ground.optical, pair.clear)
        if each.regime == NONE:
            assert cover == 1
        elif each.regime.startswith(HEAVY):
            assert cover > 0.8
        else:
            assert 0.2 <= cover <= 0.6
        assert each.regime.endswith(OWN) or each.check.cover is each.truly
    again = list(by_regime([("one", pair)], [], setting))
    assert all(
        np.array_equal(a.check.scene.cloudy, b.check.scene.cloudy) for a, b in zip(checks, again, strict=True)
    )


def test_an_image_under_cirrus_is_no_truth(pair: Pair, setting: Comparison) -> None:
    hazy = pair.clear.copy()
    hazy[10] = 0.02
    assert not list(by_regime([("one", replace(pair, cloudy=hazy, clear=hazy))], [], setting))


def test_what_the_mask_misses_counts_as_it_is_seen(pair: Pair, setting: Comparison) -> None:
    each = next(each for each in by_regime([("one", pair)], [], setting) if each.regime == USUAL)
    missed = replace(each, check=replace(each.check, cover=np.zeros_like(each.truly)))
    ((scored,),) = score_regimes([missed], setting).values()
    where, scene = each.truly > 0, each.check.scene
    expected = psnr(scene.cloudy[:, where], scene.ground.optical[:, where])
    assert [row["psnr"] for row in scored.rows.values()] == 3 * [pytest.approx(expected, abs=1e-3)]
    assert list(scored.rows) == [regimes.COLOUR, CONTEXT, "1 step"]


def test_gains_are_against_the_context_or_the_mean_colour() -> None:
    rows = {regimes.COLOUR: 20.0, CONTEXT: 25.0}
    images = [
        Scored(str(n), 0.5, {k: {"psnr": v} for k, v in (rows | {"1 step": found}).items()})
        for n, found in enumerate((24.0, 27.0))
    ]
    mean, gain = regime_tables("C", {NONE: images, USUAL: images})
    assert mean.rows["1 step"] == {f"{NONE}, n=2": 25.5, f"{USUAL}, n=2": 25.5}
    found = {name: list(row.values()) for name, row in gain.rows.items()}
    assert found == {"1 step, mean": [5.5, 0.5], "1 step, lowest": [4, -1], "1 step, images below": [0, 1]}
    assert regime_tables("C", {}) == []
