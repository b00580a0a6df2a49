"""Sound bytes to a normalised log-mel spectrogram, as transformers' ASTFeatureExtractor computes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from u2a.contract.modality import Example, Inputs
from u2a.errors import BadSample, NoContent
from u2a.media import filters
from u2a.media.filters import FRAME_LENGTH, FRAME_SHIFT
from u2a_audio.constants import read_constants
from u2a_audio.decode import decode_mono

if TYPE_CHECKING:
    from torch import Tensor

    from u2a_audio.options import AudioOptions

_MARGIN = 0.1  # seconds read beyond the last frame, so that the resampling filter ends outside of it
_LARGEST_STEP = 2000  # of the resampling ratio; its filter bank has about that many rows times as many columns


@dataclass(frozen=True)
class AudioPreprocessor:
    """Member bytes to ``{"input_values": float32 [frames, mel bins]}``; collated ``[P, frames, mel bins]``.

    The first ``max_length`` frames, in training as in evaluation; a shorter sound is padded with zeros
    before normalisation.
    """

    sampling_rate: int
    mel_bins: int
    max_length: int
    mean: float
    std: float
    notes: tuple[str, ...] = ()

    @classmethod
    def from_options(cls, options: AudioOptions, packaged: Path) -> AudioPreprocessor:
        """With the checkpoint's own constants; see `u2a_audio.constants.read_constants`."""
        constants = read_constants(options, packaged)
        return cls(**constants | {"notes": (*constants["notes"], *filters.notes())})

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode, mix to mono, resample, and compute the spectrogram.

        Raises:
            BadSample: see `u2a_audio.decode.decode_mono`; NoContent if shorter than one 25 ms window.
        """
        seconds = self.max_length * FRAME_SHIFT + FRAME_LENGTH + _MARGIN
        wave, rate = decode_mono(member, seconds)
        wave_T = to_rate(torch.from_numpy(wave), rate, self.sampling_rate)
        if wave_T.numel() < self.sampling_rate * FRAME_LENGTH:
            raise NoContent(f"the sound is shorter than {FRAME_LENGTH * 1000:.0f} ms")
        values = self._spectrogram(wave_T)
        if not torch.isfinite(values).all():
            raise BadSample(
                f"the sound has samples as large as {wave_T.abs().max():.3g}: no features come of it"
            )
        return {"input_values": values}

    def constants(self) -> dict[str, Any]:
        """How bytes become inputs, for programs without u2a: kaldi's log-mel filter bank, then
        ``(x - mean) / (2 std)``.
        """
        return {
            "reader": "kaldi_fbank",
            "sampling_rate": self.sampling_rate,
            "mel_bins": self.mel_bins,
            "frames": self.max_length,
            "frame_shift_seconds": FRAME_SHIFT,
            "frame_length_seconds": FRAME_LENGTH,
            "mean": self.mean,
            "std": self.std,
        }

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Stack."""
        return {"input_values": torch.stack([example["input_values"] for example in examples])}

    def _spectrogram(self, wave_T: Tensor) -> Tensor:
        features = filters.filter_bank(wave_T - wave_T.mean(), self.sampling_rate, self.mel_bins)
        features = features[: self.max_length]
        padding = self.max_length - features.shape[0]
        features = torch.nn.functional.pad(features, (0, 0, 0, padding))
        return (features - self.mean) / (2 * self.std)


def to_rate(wave_T: Tensor, rate: int, wanted: int) -> Tensor:
    """Resample float [T] from ``rate`` to ``wanted`` Hz.

    An odd rate (say 44,099 Hz) would need a filter for each of its thousands of phases: it is taken for the
    nearest multiple of 100 Hz, a change of pitch that nobody hears.
    """
    if rate // gcd(rate, wanted) > _LARGEST_STEP:
        rate = round(rate, -2)
    return filters.resample(wave_T, rate, wanted)
