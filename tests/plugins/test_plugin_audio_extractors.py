"""Sounds for encoders that read the waveform, or what an extractor of transformers makes: as it makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import transformers as hf

from u2a_audio.spec import AUDIO

NOISE = np.random.default_rng(0).normal(0.05, 0.1, 40_000).astype(np.float32)  # 2.5 s at 16 kHz, off centre
CONFIGS: dict[str, Any] = {
    "waves": hf.Wav2Vec2Config(),
    "whisper": hf.WhisperConfig(num_mel_bins=20, max_source_positions=50),
    "bert": hf.Wav2Vec2BertConfig(),
}


def checkpoint(folder: Path, name: str, extractor: Any) -> Path:
    """What a preprocessor reads of a checkpoint."""
    extractor.save_pretrained(folder)
    CONFIGS[name].save_pretrained(folder)
    return folder


def preprocessor(folder: Path, **more: object) -> Any:
    return AUDIO.preprocessor(AUDIO.options.model_validate({"kind": "audio", "encoder": str(folder), **more}))


def read(folder: Path, wave: np.ndarray, rate: int = 16000, **more: object) -> torch.Tensor:
    member = tiny.sound_bytes(wave, rate, subtype="FLOAT")
    (value,) = preprocessor(folder, **more)(member, train=False, seed=0).values()
    return value


@pytest.mark.parametrize("normalise", [True, False])
def test_waves_equal_transformers_extractor(tmp_path: Path, normalise: bool) -> None:
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=normalise)
    folder = checkpoint(tmp_path, "waves", extractor)
    for samples in (480, 6400):
        wanted = extractor(NOISE[:samples], sampling_rate=16000, return_tensors="pt")["input_values"][0]
        torch.testing.assert_close(read(folder, NOISE[:samples]), wanted, atol=1e-6, rtol=1e-5)


def test_waves_are_cut_before_they_are_normalised(tmp_path: Path) -> None:
    extractor = hf.Wav2Vec2FeatureExtractor()
    folder = checkpoint(tmp_path, "waves", extractor)
    wanted = extractor(NOISE[:8000], sampling_rate=16000, return_tensors="pt")["input_values"][0]
    torch.testing.assert_close(read(folder, NOISE, max_length=50), wanted, atol=1e-6, rtol=1e-5)
    assert len(read(folder, tiny.tone(2.0, 44100), 44100, max_length=50)) == 8000
    assert len(read(folder, NOISE)) == 40_000
    assert len(read(folder, np.tile(NOISE, 5))) == 160_000  # ten seconds where nobody says
    made = preprocessor(folder, max_length=50)
    both = [made(tiny.sound_bytes(NOISE[:n], subtype="FLOAT"), train=False, seed=0) for n in (500, 900)]
    inputs = made.collate(both)
    assert inputs["samples_P"].tolist() == [500, 900]
    assert torch.equal(inputs["input_values"][0, :500], both[0]["input_values"])
    assert not inputs["input_values"][0, 500:].any()


def test_whispers_features_are_the_first_of_its_half_minute(tmp_path: Path) -> None:
    extractor = hf.WhisperFeatureExtractor(feature_size=20)
    folder = checkpoint(tmp_path, "whisper", extractor)
    for wave in (NOISE[:6400], NOISE):  # shorter and longer than its second
        whole = extractor(wave[:16000], sampling_rate=16000, return_tensors="pt")["input_features"][0]
        values = read(folder, wave)
        assert values.shape == (20, 100)
        torch.testing.assert_close(values[:, :97], whole[:, :97], atol=1e-4, rtol=1e-4)
    assert read(folder, NOISE, max_length=40).shape == (20, 40)


def test_wav2vec2_berts_features_are_those_of_the_sound_alone(tmp_path: Path) -> None:
    extractor = hf.SeamlessM4TFeatureExtractor()
    folder = checkpoint(tmp_path, "bert", extractor)
    for samples, rows in ((6400, 19), (6560, 19), (6720, 20)):  # 38, 39 and 40 frames, two in a row
        made = extractor(NOISE[:samples], sampling_rate=16000, return_tensors="pt")
        values = read(folder, NOISE[:samples])
        assert values.shape == (rows, 160)
        torch.testing.assert_close(values, made["input_features"][0, :rows], atol=1e-4, rtol=1e-4)
    cut = read(folder, NOISE, max_length=20)
    torch.testing.assert_close(cut, read(folder, NOISE[:3200]), atol=1e-4, rtol=1e-4)
    both = preprocessor(folder).collate([{"input_features": torch.ones(n, 160)} for n in (2, 3)])
    assert both["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert both["input_features"][0, :, 0].tolist() == [1, 1, 0]
