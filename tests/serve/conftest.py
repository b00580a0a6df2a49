"""A trained run of pictures and texts, for a service."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def run(pictures_and_texts: Path) -> Path:
    for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        pytest.importorskip(name, reason='pip install "u2a[serve]"')
    return pictures_and_texts
