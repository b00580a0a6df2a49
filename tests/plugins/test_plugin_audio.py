"""The audio plugin: any file's sound to the spectrogram of ASTFeatureExtractor, and AST at other lengths."""

from __future__ import annotations

import json
import math
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import transformers as hf

from u2a.errors import BadSample, U2AError
from u2a_audio.decode import decode_mono
from u2a_audio.preprocess import to_rate
from u2a_audio.spec import AUDIO

MEAN, STD = -4.2677393, 4.5689974


def options(folder: Path, **more: object):
    return AUDIO.options.model_validate({"kind": "audio", "encoder": str(folder), **more})


def features(folder: Path, member: bytes, **more: object) -> torch.Tensor:
    return AUDIO.preprocessor(options(folder, **more))(member, train=False, seed=0)["input_values"]


@pytest.mark.parametrize("seconds", [0.03, 0.3, 0.6649, 2.0])
def test_features_equal_transformers_extractor(checkpoints, seconds):
    wave = tiny.tone(seconds)
    wave -= wave.mean()
    ours = features(checkpoints["ast"], tiny.sound_bytes(wave, subtype="FLOAT"))
    extractor = hf.ASTFeatureExtractor.from_pretrained(checkpoints["ast"])
    wanted = extractor(wave, sampling_rate=16000, return_tensors="pt")["input_values"][0]
    assert ours.shape == wanted.shape == (64, 32)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=1e-4)


def test_a_checkpoint_that_does_not_normalise_gets_the_plain_spectrogram(tmp_path, checkpoints):
    for path in checkpoints["ast"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_normalize": False}))
    wave = tiny.tone(0.4) - tiny.tone(0.4).mean()
    extractor = hf.ASTFeatureExtractor.from_pretrained(tmp_path)
    wanted = extractor(wave, sampling_rate=16000, return_tensors="pt")["input_values"][0]
    ours = features(tmp_path, tiny.sound_bytes(wave, subtype="FLOAT"))
    torch.testing.assert_close(ours, wanted, atol=1e-3, rtol=1e-4)


def test_short_sounds_are_padded_with_normalised_zeros(checkpoints):
    values = features(checkpoints["ast"], tiny.sound_bytes(tiny.tone(0.105)))
    assert torch.equal(values[9:], torch.full((55, 32), (0 - MEAN) / (2 * STD)))
    assert (values[:9] != values[9]).all()


def test_a_constant_offset_changes_nothing(checkpoints):
    wave = tiny.tone()
    shifted = features(checkpoints["ast"], tiny.sound_bytes(wave + 0.3, subtype="FLOAT"))
    plain = features(checkpoints["ast"], tiny.sound_bytes(wave, subtype="FLOAT"))
    torch.testing.assert_close(shifted, plain, atol=1e-3, rtol=0)


def close(ours: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> bool:
    """Mean distance over the mel bins of a 440 Hz tone, where there is energy."""
    return (ours - wanted)[2:60, 3:12].abs().mean().item() < tolerance


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 44099])
def test_other_rates_are_resampled(checkpoints, rate):
    plain = features(checkpoints["ast"], tiny.sound_bytes(tiny.tone()))
    ours = features(checkpoints["ast"], tiny.sound_bytes(tiny.tone(rate=rate), rate))
    peak = plain[10:50].mean(0).argmax()
    assert ours[10:50].mean(0).argmax() == peak
    assert (ours - plain)[10:50, peak].abs().max() < 0.02


@pytest.mark.parametrize(("rate", "taken"), [(44099, 44100), (22049, 22000), (8001, 8000), (47999, 48000)])
def test_an_odd_rate_is_taken_for_the_nearest_hundred(rate, taken):
    wave = torch.from_numpy(tiny.tone(1.0, rate))
    assert len(to_rate(wave, rate, 16000)) == math.ceil(16000 * rate / taken)


def test_channels_are_averaged(checkpoints):
    wave = tiny.tone()
    stereo = np.stack([wave * 1.5, wave * 0.5], axis=1) * 0.6
    ours = features(checkpoints["ast"], tiny.sound_bytes(stereo, subtype="FLOAT"))
    wanted = features(checkpoints["ast"], tiny.sound_bytes(wave * 0.6, subtype="FLOAT"))
    torch.testing.assert_close(ours, wanted, atol=1e-3, rtol=0)


FILES = {
    "wav-16": (tiny.sound_bytes(tiny.tone()), 0.01),
    "flac": (tiny.sound_bytes(tiny.tone(), format="FLAC"), 0.01),
    "ogg": (tiny.sound_bytes(tiny.tone(), format="OGG"), 0.05),
    "mp3": (tiny.sound_bytes(tiny.tone(), format="MP3"), 0.2),
    "m4a": (tiny.clip_bytes(None, tiny.tone()), 0.2),
    "mp4 with video": (tiny.clip_bytes(tiny.numbered_frames(8), tiny.tone()), 0.2),
    "mov": (tiny.clip_bytes(tiny.numbered_frames(8), tiny.tone(), format="mov"), 0.2),
    "mkv": (tiny.clip_bytes(tiny.numbered_frames(8), tiny.tone(), format="matroska"), 0.2),
}


@pytest.mark.parametrize("name", list(FILES))
def test_kinds_of_files_give_the_same_sound(checkpoints, name):
    member, tolerance = FILES[name]
    plain = features(checkpoints["ast"], tiny.sound_bytes(tiny.tone(), subtype="FLOAT"))
    assert close(features(checkpoints["ast"], member), plain, tolerance)
    assert not close(features(checkpoints["ast"], tiny.sound_bytes(tiny.tone(hertz=1500))), plain, 0.2)


@pytest.mark.parametrize("name", ["flac", "m4a"])
def test_no_more_is_decoded_than_asked_for(name):
    long = tiny.tone(30)
    member = tiny.sound_bytes(long, format="FLAC") if name == "flac" else tiny.clip_bytes(None, long)
    wave, rate = decode_mono(member, 0.5)
    assert rate == 16000
    assert wave.shape == (8001,)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (b"", "empty file"),
        (b"no sound at all", "cannot be decoded as audio"),
        (tiny.sound_bytes(np.zeros(0, np.float32)), "zero length"),
        (tiny.sound_bytes(tiny.tone(0.02)), "shorter than 25 ms"),
        (tiny.sound_bytes(np.full(8000, np.nan, np.float32), subtype="FLOAT"), "not finite"),
        (tiny.clip_bytes(tiny.numbered_frames(4)), "has no audio stream"),
        (tiny.clip_bytes(None, tiny.tone())[:700], "cannot be decoded as audio"),
        (tiny.sound_bytes(tiny.tone(), rate=500), "500 Hz is not between"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/passwd\n", "cannot be decoded as audio"),
    ],
    ids=["empty", "text", "zero", "short", "nan", "no-audio", "truncated", "rate", "playlist"],
)
def test_unusable_files_say_why(checkpoints, member, reason):
    with pytest.raises(BadSample, match=reason) as caught:
        features(checkpoints["ast"], member)
    assert "\n" not in str(caught.value)


def test_a_header_that_claims_hours_allocates_nothing(checkpoints):
    member = bytearray(tiny.sound_bytes(tiny.tone(0.2)))
    at = member.index(b"data") + 4
    member[at : at + 4] = struct.pack("<I", 0x7FFFFF00)
    assert features(checkpoints["ast"], bytes(member)).shape == (64, 32)


@torch.no_grad()
def test_hidden_states_equal_transformers_own(checkpoints):
    module = AUDIO.backbone(options(checkpoints["ast"]), weights=True).eval()
    reference = hf.ASTModel.from_pretrained(checkpoints["ast"]).eval()
    preprocessor = pickle.loads(pickle.dumps(AUDIO.preprocessor(options(checkpoints["ast"]))))
    members = [tiny.sound_bytes(tiny.tone(hertz=hertz)) for hertz in (300, 900)]
    inputs = preprocessor.collate([preprocessor(m, train=True, seed=1) for m in members])
    tokens = AUDIO.embedding(module, inputs)
    hidden = AUDIO.encoder(module, tokens)
    wanted = reference(inputs["input_values"])
    torch.testing.assert_close(hidden, wanted.last_hidden_state)
    torch.testing.assert_close(hidden[:, list(tokens.cls)].mean(1), wanted.pooler_output)
    token = torch.randn(32)
    longer = torch.cat([tokens.hidden_NLD, token.expand(2, 1, 32)], 1)
    ours = AUDIO.encoder(module, replace(tokens, hidden_NLD=longer))
    reference.embeddings.register_forward_hook(lambda m, a, out: torch.cat([out, token.expand(2, 1, 32)], 1))
    torch.testing.assert_close(ours, reference(inputs["input_values"]).last_hidden_state)
    assert AUDIO.width(options(checkpoints["ast"])) == 32


@pytest.mark.parametrize("frames", [32, 64, 100])
@torch.no_grad()
def test_another_length_interpolates_the_positions_in_time(checkpoints, frames):
    chosen = options(checkpoints["ast"], max_length=frames)
    module = AUDIO.backbone(chosen, weights=True).eval()
    old = hf.ASTModel.from_pretrained(checkpoints["ast"]).embeddings.position_embeddings[0].numpy()
    new = module.embeddings.position_embeddings[0].numpy()
    times = (frames - 16) // 10 + 1
    assert new.shape == (2 + 2 * times, 32)
    assert np.array_equal(new[:2], old[:2])
    at = np.clip((np.arange(times) + 0.5) * 5 / times - 0.5, 0, 4)
    for frequency in (0, 1):
        rows = old[2 + 5 * frequency : 7 + 5 * frequency]
        wanted = np.stack([np.interp(at, np.arange(5), rows[:, d]) for d in range(32)], axis=1)
        np.testing.assert_allclose(new[2 + times * frequency :][:times], wanted, atol=1e-6)
    values = features(checkpoints["ast"], tiny.sound_bytes(tiny.tone(2)), max_length=frames)
    assert values.shape == (frames, 32)
    assert AUDIO.encoder(module, AUDIO.embedding(module, {"input_values": values[None]})).shape == (
        1,
        *new.shape,
    )


def test_too_short_lengths_are_refused(checkpoints):
    with pytest.raises(ValueError, match="max_length"):
        options(checkpoints["ast"], max_length=8)


def test_missing_constants_are_named(tmp_path, checkpoints):
    (tmp_path / "config.json").write_text((checkpoints["ast"] / "config.json").read_text())
    tiny.write_json(
        tmp_path, "preprocessor_config.json", {"sampling_rate": 16000, "num_mel_bins": 32, "max_length": 64}
    )
    with pytest.raises(U2AError, match="mean must be a number"):
        AUDIO.preprocessor(options(tmp_path))
