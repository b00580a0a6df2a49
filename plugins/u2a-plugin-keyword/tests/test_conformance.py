"""The contract, check by check."""

from __future__ import annotations

import pytest
from u2a_plugin_keyword.spec import KEYWORD

from u2a.testing.case import Case
from u2a_audio.decode import encode_wav


@pytest.fixture(scope="module")
def modality(encoder, tone) -> Case:
    members = [
        encode_wav((tone(seconds, hertz), 16000)) for seconds, hertz in ((0.05, 300), (0.1, 900), (0.4, 2000))
    ]
    return Case(
        KEYWORD,
        {"encoder": str(encoder)},
        members,
        bad=[encode_wav((tone(0.02, 300), 16000)), members[0][:50]],
        values=[(tone(0.1, 500), 8000)],
    )


def test_conformance(u2a_check, modality):
    u2a_check(modality)
