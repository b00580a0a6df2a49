"""The contract, check by check."""

from __future__ import annotations

import numpy as np
import pytest
from u2a_plugin_features.decode import encode_npy
from u2a_plugin_features.spec import FEATURES

from u2a.testing.case import Case


def vectors(steps: int, size: int = 5) -> np.ndarray:
    return np.random.default_rng(steps).normal(size=(steps, size)).astype(np.float32)


@pytest.fixture(scope="module", params=["sequences", "vectors"])
def modality(request) -> Case:
    values = [vectors(steps) for steps in (3, 7, 12)] if request.param == "sequences" else list(vectors(3))
    return Case(
        FEATURES,
        {"size": 5, "longest": 8, "width": 16, "mean": 0.5, "std": [1, 2, 1, 1, 3]},
        members=[encode_npy(value) for value in values],
        bad=[encode_npy(vectors(2, 4)), encode_npy(np.full(5, np.nan)), encode_npy(np.zeros((0, 5)))],
        values=[(values[0], encode_npy(values[0])), (values[0].tolist(), encode_npy(values[0]))],
    )


def test_conformance(u2a_check, modality):
    u2a_check(modality)
