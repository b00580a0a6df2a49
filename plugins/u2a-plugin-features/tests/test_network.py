"""What the untrained network does to vectors, held against scikit-learn on the vectors themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from u2a_plugin_features.spec import FEATURES


def network_of(size: int, **more: object):
    torch.manual_seed(0)
    options = FEATURES.options.model_validate({"kind": "features", "size": size, **more})
    return FEATURES.backbone(options, weights=True).eval()


def collated(vectors: list[np.ndarray]) -> dict[str, torch.Tensor]:
    options = FEATURES.options.model_validate({"kind": "features", "size": vectors[0].shape[1]})
    return FEATURES.preprocessor(options).collate(
        [{"values": torch.from_numpy(one).float()} for one in vectors]
    )


def test_vectors_are_standardised_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    spread = [1e-3, 1.0, 1e5, 1e12]
    vectors = [rng.normal(spread, spread, (T, 4)) for T in (1, 5, 2, 9, 3)]
    network = network_of(4)
    network.fit(torch.cat([network.measure(**collated(part)) for part in (vectors[:3], vectors[3:])]))
    tokens = network.embed(**collated(vectors))
    wanted = StandardScaler().fit(np.concatenate(vectors))
    assert network.carried == 32 * 4  # copies
    found = tokens.hidden_NLD[:, 1:, -4:][tokens.valid_NL[:, 1:]].detach()
    np.testing.assert_allclose(found, wanted.transform(np.concatenate(vectors)), rtol=1e-3, atol=1e-4)
    means = np.stack([wanted.transform(one).mean(0) for one in vectors])
    np.testing.assert_allclose(tokens.hidden_NLD[:, 0, -4:].detach(), means, rtol=1e-3, atol=1e-4)


def test_a_place_that_never_changes_says_nothing():
    vectors = [np.array([[float(n), 0.1, 0.0]]) for n in range(7)]
    network = network_of(3)
    network.fit(network.measure(**collated(vectors)))
    other = collated([np.array([[3.0, 1e5, -1e30]]), np.array([[1e38, 0.1, 0.0]])])
    tokens = network.embed(**other)
    torch.testing.assert_close(tokens.hidden_NLD[0, 0, -3:], torch.zeros(3))
    assert tokens.hidden_NLD[1, 0, -3] == 1e6  # as good as infinite


@pytest.mark.parametrize("given", [{"mean": 0.0}, {"std": [1.0] * 5}])
def test_what_the_recipe_standardises_is_left_as_it_is(given):
    assert network_of(5, **given).n_measures == 0
    assert network_of(5).n_measures == 11


@pytest.mark.parametrize(
    ("size", "width", "lost"), [(12, 64 + 11 * 12, 0.01), (300, 364, 0.01), (3000, 2112, 0.06)]
)
def test_an_untrained_network_keeps_what_logistic_regression_reads(size, width, lost):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    axis = rng.normal(size=size)
    values = rng.normal(size=(1000, size)) + np.outer(2 * labels - 1, 1.5 * axis / np.linalg.norm(axis))
    inputs = collated([one[None] for one in values])
    network = network_of(size)
    network.fit(network.measure(**inputs))
    with torch.no_grad():
        tokens = network.embed(**inputs)
        read = network.encode(tokens.hidden_NLD, tokens.valid_NL)[:, 0].numpy()
    assert read.shape == (1000, width)

    def score(x: np.ndarray) -> float:
        x = StandardScaler().fit(x[:600]).transform(x) / x.shape[1] ** 0.5
        models = (LogisticRegression(C=C, max_iter=1000).fit(x[:600], labels[:600]) for C in (1, 10, 100))
        return max(model.score(x[600:], labels[600:]) for model in models)

    assert score(read) > score(values) - lost
    assert score(read[:, :64]) < score(values) - 0.1 or size < 64  # its own 64 numbers do not
