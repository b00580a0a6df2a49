"""Sounds where torchaudio cannot be imported: the same features, by scipy and transformers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from u2a.media import filters

torchaudio = pytest.importorskip("torchaudio", exc_type=Exception)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torchaudio as it is beside a torch that it was not built for."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.setitem(sys.modules, name, None)
    filters.torchaudio.cache_clear()
    yield
    filters.torchaudio.cache_clear()


def sound(rate: int, seconds: float) -> torch.Tensor:
    """Speech-like: noise with a slope and a few tones, in -1..1."""
    draw = np.random.default_rng(3)
    t = np.arange(int(rate * seconds)) / rate
    wave = sum(np.sin(2 * np.pi * f * t) * np.exp(-t) for f in (120, 440, 0.21 * rate))
    wave = wave + np.cumsum(draw.normal(size=t.size)) * 0.01
    return torch.tensor(wave / abs(wave).max(), dtype=torch.float32)


RATES = [
    (8000, 16000),
    (44100, 16000),
    (48000, 16000),
    (22050, 16000),
    (16000, 8000),
    (11025, 16000),
    (96000, 16000),
]


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(("rate", "wanted"), RATES)
@pytest.mark.parametrize("samples", [1, 7, 1000, 12345])
def test_resampled_as_torchaudio_does(rate: int, wanted: int, samples: int) -> None:
    wave_T = sound(rate, 2.0)[:samples]
    found = filters.resample(wave_T, rate, wanted)
    expected = torchaudio.functional.resample(wave_T, rate, wanted)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-5)


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(("rate", "bins"), [(16000, 128), (16000, 64), (8000, 40), (22050, 80)])
def test_the_filter_bank_is_kaldis(rate: int, bins: int) -> None:
    wave_T = sound(rate, 1.3) * 0.5
    found = filters.filter_bank(wave_T, rate, bins)
    expected = torchaudio.compliance.kaldi.fbank(
        wave_T[None], sample_frequency=rate, window_type="hanning", num_mel_bins=bins
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert filters.filter_bank(wave_T[: rate // 50], rate, bins).shape == (0, bins)


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("peak", [1e15, 1e22])
def test_the_filter_bank_is_infinite_where_kaldis_is(peak: float) -> None:
    wave_T = sound(16000, 0.5)
    wave_T[5] = peak
    expected = torchaudio.compliance.kaldi.fbank(wave_T[None], sample_frequency=16000, window_type="hanning")
    found = filters.filter_bank(wave_T, 16000, 23)
    assert bool(found.isfinite().all()) == bool(expected.isfinite().all()) == (peak < 1e20)


@pytest.mark.usefixtures("without")
def test_a_line_says_that_something_stands_in() -> None:
    (note,) = filters.notes()
    assert note.startswith("torchaudio is absent or cannot be imported beside this torch")


def test_with_torchaudio_nothing_is_said() -> None:
    assert filters.notes() == ()


def test_an_import_that_fails_takes_no_other_library_with_it(tmp_path: Path) -> None:
    broken = tmp_path / "torchaudio/__init__.py"
    broken.parent.mkdir()
    broken.write_text("raise RuntimeError('PyTorch has CUDA version 13.2 whereas TorchAudio has 13.0')\n")
    code = "import transformers, u2a.cli; u2a.cli.main(['params', 'recipes/quickstart.toml'])"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "total" in done.stdout
