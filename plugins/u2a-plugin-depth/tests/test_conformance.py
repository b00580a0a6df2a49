"""The contract, check by check."""

from __future__ import annotations

import io

import numpy as np
import pytest
from u2a_plugin_depth.decode import encode_npy
from u2a_plugin_depth.spec import DEPTH

from u2a.testing.case import Case


@pytest.fixture(scope="module")
def modality(encoder) -> Case:
    slope = np.linspace(0.5, 4, 48 * 40).reshape(40, 48)
    objects = io.BytesIO()
    np.save(objects, np.array([[1.0, None]]), allow_pickle=True)
    return Case(
        DEPTH,
        {"encoder": str(encoder)},
        members=[encode_npy(slope), encode_npy(slope.T), encode_npy(np.where(slope > 2, 0, slope))],
        bad=[objects.getvalue(), encode_npy(np.zeros((4, 4)))],
        values=[slope],
    )


def test_conformance(u2a_check, modality):
    u2a_check(modality)
