"""The audio plugin: sounds that a Python program holds, as the files that a program like soundfile writes."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tiny
import torch

from u2a.errors import BadSample
from u2a_audio.spec import AUDIO


def test_python_values_become_wav():
    wave = tiny.tone(0.1)
    data, rate = soundfile.read(io.BytesIO(AUDIO.to_member((torch.tensor(wave), 8000))), dtype="float32")
    assert rate == 8000
    assert np.array_equal(data, wave)
    two, _ = soundfile.read(io.BytesIO(AUDIO.to_member((np.stack([wave, -wave]), 16000))), dtype="float32")
    assert np.array_equal(two, np.stack([wave, -wave], axis=1))
    for wrong in (wave, (np.zeros(5, np.int64), 8000), (np.zeros((500, 2), np.float32), 8000)):
        with pytest.raises(BadSample, match=r"must be|wave"):
            AUDIO.to_member(wrong)
    for rate in (0, -8000, 10**12):
        with pytest.raises(BadSample, match="sampling rate"):
            AUDIO.to_member((wave, rate))


@pytest.mark.parametrize(("kind", "subtype"), [("int16", "PCM_16"), ("int32", "PCM_32"), ("uint8", "PCM_U8")])
def test_waves_of_integers_are_what_a_file_of_them_is(kind, subtype):
    wave = tiny.tone(0.1) * 0.3
    wanted, _ = soundfile.read(io.BytesIO(tiny.sound_bytes(wave, subtype=subtype)), dtype="float32")
    as_read = {"int16": np.int16, "int32": np.int32, "uint8": np.int16}[kind]
    held, _ = soundfile.read(io.BytesIO(tiny.sound_bytes(wave, subtype=subtype)), dtype=as_read.__name__)
    if kind == "uint8":  # soundfile has no such type: the high byte is the value, 128 silence
        held = (held // 256 + 128).astype(np.uint8)
    for given in (held, torch.from_numpy(held)):
        ours, _ = soundfile.read(io.BytesIO(AUDIO.to_member((given, 16000))), dtype="float32")
        assert np.array_equal(ours, wanted)


@pytest.mark.parametrize("scale", [32768, 128])
def test_integers_by_the_name_of_floats_are_refused(scale):
    wave = tiny.tone(0.1) * 0.3
    with pytest.raises(BadSample, match=r"must be in -1\.\.1, not as large as .* full scale"):
        AUDIO.to_member((wave * scale, 16000))
    loud = wave / np.abs(wave).max() * 1.5  # clipping is ordinary
    ours, _ = soundfile.read(io.BytesIO(AUDIO.to_member((loud, 16000))), dtype="float32")
    assert np.array_equal(ours, loud)


def test_sounds_of_datasets_become_wav():
    wave = tiny.tone(0.1)

    class Decoder:
        """As of torchcodec, in newer versions of datasets."""

        def get_all_samples(self):
            return SimpleNamespace(data=torch.from_numpy(wave)[None], sample_rate=16000)

    for value in ({"array": wave, "sampling_rate": 16000, "path": None}, Decoder()):
        ours, rate = soundfile.read(io.BytesIO(AUDIO.to_member(value)), dtype="float32")
        assert rate == 16000
        assert np.array_equal(ours, wave)
