"""The two computations on sounds that torchaudio is used for, and what stands in where it cannot be imported.

torchaudio 2.11 is its last series, built for one CUDA: beside a newer torch its import fails. Then scipy
resamples with torchaudio's own filter, equal to 3e-5 of the sound's range, and transformers computes the
filter bank, equal to 1e-3 in log energy (tests/media/test_filters.py).
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from u2a.common.libraries import torchaudio

if TYPE_CHECKING:
    from torch import Tensor

FRAME_SHIFT = 0.010  # seconds, and
FRAME_LENGTH = 0.025  # Kaldi's defaults
_WIDTH, _ROLLOFF = 6, 0.99  # zero crossings of torchaudio's filter on either side, and its cut-off
_LOWEST = 20.0  # Hz, of the filter bank
_LARGEST = float(np.log(np.finfo(np.float32).max))
_FLOOR = 1.1920928955078125e-07  # of an energy before its logarithm: float32's epsilon, as in Kaldi


def resample(wave_T: Tensor, rate: int, wanted: int) -> Tensor:
    """Resample float [T] from ``rate`` to ``wanted`` Hz with a windowed sinc; the same if equal."""
    if rate == wanted:
        return wave_T
    if torchaudio() is not None:
        resampled: Tensor = import_module("torchaudio.functional").resample(wave_T, rate, wanted)
        return resampled
    return _resampled_by_scipy(wave_T, rate, wanted)


def filter_bank(wave_T: Tensor, rate: int, mel_bins: int) -> Tensor:
    """Kaldi's log-mel filter bank of float [T], Hann window, no dither: float32 [frames, mel bins]."""
    if torchaudio() is not None:
        kaldi = import_module("torchaudio.compliance.kaldi")
        bank: Tensor = kaldi.fbank(
            wave_T.unsqueeze(0), sample_frequency=rate, window_type="hanning", num_mel_bins=mel_bins
        )
        return bank
    return _bank_by_transformers(wave_T, rate, mel_bins)


def notes() -> tuple[str, ...]:
    """What a person should know of how sounds are computed here."""
    if torchaudio() is not None:
        return ()
    return (
        "torchaudio is absent or cannot be imported beside this torch: scipy resamples, transformers "
        "computes the filter bank, equal to about 1e-3",
    )


def _resampled_by_scipy(wave_T: Tensor, rate: int, wanted: int) -> Tensor:
    import torch
    from scipy.signal import resample_poly

    common = np.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    base = min(up, down) * _ROLLOFF
    reach = int(np.ceil(_WIDTH * up * down / base))
    t = np.arange(-reach, reach + 1) / (up * down) * base  # in zero crossings of the filter
    window = np.where(abs(t) < _WIDTH, np.cos(t * np.pi / _WIDTH / 2) ** 2, 0.0)
    taps = np.sinc(t) * window * base / down / up  # resample_poly multiplies by `up`
    return torch.from_numpy(resample_poly(wave_T.double().numpy(), up, down, window=taps)).to(wave_T.dtype)


def _bank_by_transformers(wave_T: Tensor, rate: int, mel_bins: int) -> Tensor:
    import torch
    from transformers.audio_utils import spectrogram, window_function

    length, hop = int(rate * FRAME_LENGTH), int(rate * FRAME_SHIFT)
    size = 1 << (length - 1).bit_length()
    if wave_T.numel() < length:
        return torch.zeros(0, mel_bins)
    bank = spectrogram(
        wave_T.double().numpy(),
        window_function(length, "hann", periodic=False),
        frame_length=length,
        hop_length=hop,
        fft_length=size,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=_triangles(size // 2 + 1, mel_bins, rate),
        mel_floor=_FLOOR,
        log_mel="log",
        remove_dc_offset=True,
    )
    bank[bank > _LARGEST] = np.inf  # as where Kaldi's single precision holds no such energy
    return torch.from_numpy(bank.T).float()


@cache
def _triangles(bins: int, mel_bins: int, rate: int) -> np.ndarray:
    from transformers.audio_utils import mel_filter_bank

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the lowest of 128 filters lie between two frequencies, as Kaldi's do
        return mel_filter_bank(
            bins, mel_bins, _LOWEST, rate / 2, rate, mel_scale="kaldi", triangularize_in_mel_space=True
        )
