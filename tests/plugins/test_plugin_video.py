"""The video plugin: which frames, from which files, and their rows in a batch."""

from __future__ import annotations

import io
import pickle
import random
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import tiny
import torch

from u2a.errors import BadSample
from u2a.media.probe import film_numbers
from u2a_image.spec import IMAGE
from u2a_video.decode import decode_frames
from u2a_video.preprocess import choose_frames
from u2a_video.spec import VIDEO


def options(folder: Path, **more: object):
    return VIDEO.options.model_validate({"kind": "video", "encoder": str(folder), **more})


def numbers(frames: list[np.ndarray]) -> list[int]:
    """The inverse of `tiny.numbered_frames`."""
    return [round((frame.mean() - 20) / 4) for frame in frames]


def test_one_frame_of_each_third():
    assert choose_frames(9, 3, None) == [1, 4, 7]
    assert choose_frames(10, 3, None) == [1, 5, 8]
    assert choose_frames(1, 3, None) == [0, 0, 0]
    assert choose_frames(2, 3, None) == [0, 1, 1]
    drawn = {tuple(choose_frames(9, 3, random.Random(seed))) for seed in range(300)}
    assert {first for first, _, _ in drawn} == {0, 1, 2}
    assert {second for _, second, _ in drawn} == {3, 4, 5}
    assert {third for _, _, third in drawn} == {6, 7, 8}


FRAMES = tiny.numbered_frames(50)
FILES = {
    "mp4": tiny.clip_bytes(FRAMES),
    "mp4, key frame every 5": tiny.clip_bytes(FRAMES, g="5"),
    "mp4, b frames": tiny.clip_bytes(FRAMES, g="12", bf="3"),
    "mov": tiny.clip_bytes(FRAMES, format="mov"),
    "mkv": tiny.clip_bytes(FRAMES, format="matroska", g="7"),
    "avi": tiny.clip_bytes(FRAMES, format="avi", codec="mpeg4", g="6"),
    "avi, b frames": tiny.clip_bytes(FRAMES, format="avi", codec="mpeg4", g="6", bf="2"),
    "mp4 with sound": tiny.clip_bytes(FRAMES, tiny.tone(5)),
    "to_member": VIDEO.to_member((FRAMES, 10)),
}


@pytest.mark.parametrize("name", list(FILES))
@pytest.mark.parametrize("wanted", [[8, 25, 41], [0, 1, 49], [3, 3, 3], [24, 26, 27], list(range(50))])
def test_the_chosen_frames_are_found_in_any_file(name, wanted):
    counts = []
    frames = decode_frames(FILES[name], lambda times: counts.append(len(times)) or wanted)
    assert counts == [50]
    assert numbers(frames) == wanted
    assert frames[0].shape == (48, 64, 3)


def test_gif():
    grey = tiny.numbered_frames(4)
    frames = decode_frames(tiny.clip_bytes(grey, format="gif", codec="gif"), lambda times: range(len(times)))
    assert len(frames) == 4
    assert [float(f.mean()) for f in frames] == sorted(float(f.mean()) for f in frames)


def test_to_member_is_lossless():
    frames = np.random.default_rng(0).integers(0, 256, (3, 15, 17, 3), dtype=np.uint8)
    back = decode_frames(VIDEO.to_member((frames, 29.97)), lambda times: range(len(times)))
    assert np.array_equal(np.stack(back), frames)
    assert film_numbers(VIDEO.to_member((frames, 29.97)))["frames a second"] == pytest.approx(29.97, abs=1e-3)
    for wrong in (frames, (frames[0], 10), (frames.astype(float), 10)):
        with pytest.raises(BadSample, match="must be"):
            VIDEO.to_member(wrong)
    for rate in (0, -1, float("inf"), float("nan")):
        with pytest.raises(BadSample, match="frames per second"):
            VIDEO.to_member((frames, rate))


def test_a_phones_rotation_is_applied():
    frames = np.zeros((3, 48, 64, 3), np.uint8)
    frames[:, :24, :32] = 255  # white in the top left corner
    member = bytearray(tiny.clip_bytes(frames))
    # tkhd version 0: the matrix is 40 bytes after the box's version; turn by 90 degrees clockwise.
    at = member.index(b"tkhd") + 44
    one = 0x10000
    member[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 0x40000000)
    turned = decode_frames(bytes(member), lambda count: [0])[0]
    assert turned.shape == (64, 48, 3)
    assert turned[4:28, 28:44].mean() > 240  # now in the top right corner
    assert turned[36:].mean() < 15


def header_only(format: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        video = container.add_stream("mpeg4", rate=10)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (b"", "empty file"),
        (b"no video", "cannot be decoded as video"),
        (tiny.clip_bytes(None, tiny.tone()), "has no video stream"),
        (FILES["mp4"][:500], "cannot be decoded as video"),
        (header_only("matroska"), "has no video frames, or is cut off"),
        (header_only("avi"), "has no frames"),
        (header_only("mp4"), "has no video stream"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "cannot be decoded as video"),
    ],
    ids=[
        "empty",
        "text",
        "audio only",
        "truncated",
        "mkv without frames",
        "avi without",
        "mp4 without",
        "concat",
    ],
)
def test_unusable_files_say_why(checkpoints, member, reason):
    with pytest.raises(BadSample, match=reason) as caught:
        VIDEO.preprocessor(options(checkpoints["clip"]))(member, train=False, seed=0)
    assert "\n" not in str(caught.value)


def test_frames_of_a_damaged_stream_are_refused_not_invented(checkpoints):
    member = bytearray(FILES["mp4"])
    start = member.index(b"mdat") + 4
    member[start : start + 4000] = bytes(4000)
    with pytest.raises(BadSample, match="cannot be decoded"):
        VIDEO.preprocessor(options(checkpoints["clip"]))(bytes(member), train=False, seed=0)


def test_all_frames_of_a_clip_get_the_same_crop(checkpoints):
    still = np.repeat(np.asarray(tiny.picture(64, 48))[None], 6, axis=0)
    preprocessor = pickle.loads(pickle.dumps(VIDEO.preprocessor(options(checkpoints["clip"]))))
    member = VIDEO.to_member((still, 10))
    first = preprocessor(member, train=True, seed=5)["pixel_values"]
    assert first.shape == (3, 3, 32, 32)
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], first[2])
    assert torch.equal(first, preprocessor(member, train=True, seed=5)["pixel_values"])
    assert not torch.equal(first, preprocessor(member, train=True, seed=6)["pixel_values"])
    image = IMAGE.preprocessor(IMAGE.options(kind="image", encoder=str(checkpoints["clip"])))
    plain = image(IMAGE.to_member(still[0]), train=False, seed=0)["pixel_values"]
    assert torch.equal(preprocessor(member, train=False, seed=0)["pixel_values"][1], plain)


def test_training_takes_other_frames_with_every_seed_and_evaluation_the_middle_ones(checkpoints):
    preprocessor = VIDEO.preprocessor(options(checkpoints["clip"]))
    member = VIDEO.to_member((tiny.numbered_frames(50, 40, 40), 10))

    def brightness(train: bool, seed: int) -> tuple[float, ...]:
        pixels = preprocessor(member, train=train, seed=seed)["pixel_values"]
        return tuple(round(float(frame.mean()), 3) for frame in pixels)

    assert len({brightness(True, seed) for seed in range(8)}) > 4
    assert brightness(True, 3) == brightness(True, 3)
    assert len({brightness(False, seed) for seed in range(3)}) == 1


@torch.no_grad()
def test_frames_are_rows_of_the_image_encoder(checkpoints):
    chosen = options(checkpoints["clip"], frames=2)
    preprocessor = VIDEO.preprocessor(chosen)
    inputs = preprocessor.collate([preprocessor(FILES[n], train=False, seed=0) for n in ("mp4", "mov", "mkv")])
    assert inputs["pixel_values"].shape == (6, 3, 32, 32)
    assert inputs["rows_P"].tolist() == [2, 2, 2]
    module = VIDEO.backbone(chosen, weights=True).eval()
    tokens = VIDEO.embedding(module, inputs)
    assert tokens.rows_P is not None
    hidden = VIDEO.encoder(module, tokens)
    image = IMAGE.encoder(module, IMAGE.embedding(module, {"pixel_values": inputs["pixel_values"][3:4]}))
    torch.testing.assert_close(hidden[3:4], image)
