"""Proxies of encoders that are wider than there are samples, against scikit-learn's ridge regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from u2a.method.head_start import FrozenTokens, Summary
from u2a.method.head_start.frozen import own_read_out
from u2a.method.head_start.probes import set_scale
from u2a.method.head_start.proxies import RIDGES, fit_proxies
from u2a.method.read_out import ReadOuts, ReadTokens

NAMES, WIDTHS = ("a", "b"), (20, 30)


def drawn(n: int, seed: int) -> FrozenTokens:
    """Tokens of two modalities that share three hidden numbers."""
    g, maps = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(7)
    hidden, tokens = torch.randn(n, 3, generator=g), []
    for H in WIDTHS:
        both = hidden @ torch.randn(3, 2 * H, generator=maps) + 0.5 * torch.randn(n, 2 * H, generator=g)
        tokens.append(ReadTokens(both[:, :H], both[:, H:], torch.ones(n, 1, H)))
    return FrozenTokens(tuple(tokens), torch.ones(n, 2, dtype=torch.bool), torch.zeros(n, dtype=torch.long))


@pytest.mark.parametrize("rank", [64, 2])
@pytest.mark.parametrize("ridge", RIDGES[1:5:3])
def test_it_is_ridge_regression_cut_to_its_leading_directions(rank: int, ridge: float) -> None:
    read_outs, train, other = ReadOuts(NAMES, WIDTHS, 1, rank), drawn(12, 0), drawn(40, 1)
    for m in range(2):
        set_scale(read_outs, m, train, "both")
    fit_proxies(read_outs, train, train, Summary(ridges={"a_to_b": ridge, "b_to_a": ridge}))
    for i, j in ((0, 1), (1, 0)):
        H = WIDTHS[i]
        x, x_new = (read_outs.source(i, side.tokens[i])[:, 0, H:].numpy() for side in (train, other))
        z = own_read_out(read_outs, j, train).numpy()
        full = Ridge(alpha=ridge * len(x), fit_intercept=False, solver="svd").fit(x.astype(float), z)
        top = np.linalg.svd(full.predict(x))[2][:rank]
        with torch.no_grad():
            source = read_outs.source(i, other.tokens[i])[:, 0]
            found = read_outs.proxies[f"{NAMES[i]}_to_{NAMES[j]}"](source).numpy()
        np.testing.assert_allclose(found, full.predict(x_new) @ top.T @ top, atol=2e-3)
