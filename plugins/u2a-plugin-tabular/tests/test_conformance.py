"""The contract, check by check."""

from __future__ import annotations

import pytest
from u2a_plugin_tabular.spec import TABULAR

from u2a.testing.case import Case

COLUMNS = {
    "age": {"mean": 40, "std": 10},
    "city": {"values": ["Lima", "Oslo"]},
    "height": {"mean": 1.7, "std": 0.1},
}


@pytest.fixture(scope="module", params=["mixed", "numbers", "categories"])
def modality(request) -> Case:
    kept = {"mixed": list(COLUMNS), "numbers": ["age", "height"], "categories": ["city"]}[request.param]
    return Case(
        TABULAR,
        {"columns": {name: COLUMNS[name] for name in kept}, "width": 16, "layers": 2},
        members=[
            b'{"age": 31, "city": "Oslo"}',
            b'{"city": "Lima", "height": 1.9}',
            b'{"age": 5, "city": "Rome", "height": 1}',
        ],
        bad=[b"[]", b"{}", b'{"age": null, "city": null}', b'{"age": [1], "city": [1]}'],
        values=[{"age": 3.5, "city": "Oslo"}],
    )


def test_conformance(u2a_check, modality):
    u2a_check(modality)
