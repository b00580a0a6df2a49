"""The contract, check by check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from u2a_plugin_mymodality.spec import MYMODALITY

from u2a.testing.case import Case


@pytest.fixture(scope="module")
def modality(encoder: Path) -> Case:
    return Case(
        MYMODALITY,
        {"encoder": str(encoder), "longest": 16},
        members=[b"boat", b"sea", b"lighthouse"],
        bad=[b"", b"a boat"],
        values=[("boat", b"boat")],
    )


def test_conformance(u2a_check: Callable[[Case], None], modality: Case) -> None:
    u2a_check(modality)
