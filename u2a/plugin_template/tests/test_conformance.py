"""The contract, check by check."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from u2a_plugin_mymodality.decode import encode_npy
from u2a_plugin_mymodality.spec import MYMODALITY

from u2a.testing.case import Case


def series(steps: int) -> np.ndarray:
    return np.random.default_rng(steps).normal(size=(steps, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def modality() -> Case:
    return Case(
        MYMODALITY,
        {"features": 3, "longest": 16, "width": 32},
        members=[encode_npy(series(steps)) for steps in (5, 9, 30)],
        bad=[encode_npy(np.zeros((4, 2))), encode_npy(np.full((4, 3), np.nan))],
        values=[series(4)],
    )


def test_conformance(u2a_check: Callable[[Case], None], modality: Case) -> None:
    u2a_check(modality)
