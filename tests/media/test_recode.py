"""Sounds and pictures that are re-encoded while packing are what the model would have heard and seen."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import tiny
from PIL import Image

from u2a.errors import BadSample, NoContent
from u2a.media.partial import noting_losses
from u2a.media.recode import Recode
from u2a.media.sounds import decode_mono

READ = ("wav", "flac", "ogg", "mp3")


def hertz(wave: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(wave * np.hanning(len(wave))))) * rate / len(wave))


def test_a_lower_rate_keeps_the_sound():
    member = tiny.sound_bytes(np.stack([tiny.tone(1.0, 44100), tiny.tone(1.0, 44100, 880.0)], 1), 44100)
    extension, small = Recode(audio_rate=16000)("wav", member, READ)
    wave, rate = soundfile.read(io.BytesIO(small))
    assert (extension, rate, wave.shape) == ("flac", 16000, (16000,))
    spectrum = np.abs(np.fft.rfft(wave))
    assert sorted(np.argsort(spectrum)[-2:].tolist()) == [440, 880]
    assert Recode(audio_rate=16000)("flac", small, READ) == ("flac", small)  # nothing to be done
    assert soundfile.info(io.BytesIO(Recode(audio_rate=48000)("wav", member, READ)[1])).samplerate == 44100


def test_what_changes_joins_or_is_damaged_is_treated_as_the_model_does():
    joined = b"".join(tiny.sound_bytes(tiny.tone(1.0, rate), rate, "OGG") for rate in (16000, 8000))
    _, small = Recode(audio_rate=8000)("ogg", joined, READ)
    wave, rate = decode_mono(small, 10)
    assert (len(wave), rate) == (16000, 8000)
    assert [round(hertz(half, rate)) for half in (wave[:8000], wave[8000:])] == [440, 440]
    cut = tiny.sound_bytes(tiny.tone(1.0))
    with noting_losses() as losses:
        Recode(audio_rate=8000)("wav", cut[:-1000], READ)
    assert losses == ["3.1% of the sound is damaged and was left out"]
    with pytest.raises(BadSample, match="only 50% of the sound"):
        Recode(audio_rate=8000)("wav", cut[:16044], READ)
    with pytest.raises(NoContent):
        Recode(audio_rate=8000)("wav", tiny.sound_bytes(np.zeros(0, np.float32)), READ)


@pytest.mark.parametrize(
    ("size", "wanted"), [((90, 60), (36, 24)), ((60, 90), (24, 36)), ((25, 100), (24, 96))]
)
def test_a_smaller_picture_is_pillows_lanczos_and_keeps_its_shape(size, wanted):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    extension, small = Recode(image_side=24)("png", tiny.image_bytes(image), ("png",))
    seen = Image.open(io.BytesIO(small))
    assert (extension, seen.size) == ("png", wanted)
    assert np.array_equal(np.asarray(seen), np.asarray(image.resize(wanted, Image.Resampling.LANCZOS)))
