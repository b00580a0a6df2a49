"""The golden step's plugin, installed, and its data sets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def golden_plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import distributions

    site = tmp_path_factory.mktemp("site")
    distributions.install(site, "golden", {"letters": "golden_plugin"})
    with distributions.visible(site):
        yield site


@pytest.fixture(scope="module")
def golden_data(tmp_path_factory: pytest.TempPathFactory, golden_plugin: Path) -> dict[str, Path]:
    """Packed data sets by name, each with a train and a val split."""
    import golden

    return {name: golden.pack(tmp_path_factory.mktemp(name), name) for name in ("complete", "gaps", "several")}
