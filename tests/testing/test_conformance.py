"""The shipped modalities against the conformance kit, as any author's plugin is tested."""

from __future__ import annotations

import pytest
import tiny

from u2a.testing.case import Case
from u2a_audio.spec import AUDIO
from u2a_image.spec import IMAGE
from u2a_text.spec import TEXT
from u2a_video.spec import VIDEO


def image(checkpoints, encoder: str) -> Case:
    members = [tiny.image_bytes(tiny.picture(48, 40, seed)) for seed in (1, 2, 3)]
    return Case(
        IMAGE,
        {"encoder": str(checkpoints[encoder])},
        members,
        bad=[b"GIF89a", members[0][:60]],
        values=[tiny.picture()],
    )


def text(checkpoints) -> Case:
    members = [b"film about the sea", b"two friends", b"the old town and the small red boat"]
    return Case(TEXT, {"encoder": str(checkpoints["bert"])}, members, bad=[b"\xff\xfe\xff"], values=["the sea"])


def audio(checkpoints) -> Case:
    members = [tiny.sound_bytes(tiny.tone(seconds, hertz=hz)) for seconds, hz in ((0.3, 300), (0.8, 500))]
    return Case(
        AUDIO,
        {"encoder": str(checkpoints["ast"])},
        members,
        bad=[members[0][:40]],
        values=[(tiny.tone(), 16000)],
    )


def video(checkpoints) -> Case:
    members = [tiny.clip_bytes(tiny.numbered_frames(count)) for count in (3, 12)]
    return Case(VIDEO, {"encoder": str(checkpoints["clip"])}, members, bad=[members[0][:200]])


CASES = {
    "clip": lambda c: image(c, "clip"),
    "dinov2": lambda c: image(c, "dinov2"),
    "text": text,
    "audio": audio,
    "video": video,
}


@pytest.fixture(scope="module", params=list(CASES))
def modality(request, checkpoints) -> Case:
    return CASES[request.param](checkpoints)


def test_conformance(u2a_check, modality):
    u2a_check(modality)
