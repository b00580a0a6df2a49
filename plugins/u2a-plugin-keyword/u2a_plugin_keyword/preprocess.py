"""Sound to MFCC frames with the constants that the checkpoint brings. T samples or frames, C coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from u2a.contract.modality import Example, Inputs
from u2a.errors import BadSample, CheckpointError
from u2a_audio.decode import decode_mono
from u2a_audio.preprocess import to_rate
from u2a_plugin_keyword.checkpoint import FRONT_END, WEIGHTS, read_config, read_tensors
from u2a_plugin_keyword.config import Config

if TYPE_CHECKING:
    from torch import Tensor

CONSTANTS = ("window", "dft_re", "dft_im", "mel", "log_floor", "dct", "norm_mean", "norm_scale")
_MARGIN = 0.1  # seconds read beyond the last frame, so that the resampling filter ends outside of it


@dataclass(frozen=True)
class KeywordPreprocessor:
    """Member bytes to ``{"coefficients": float32 [frames, MFCC]}``; collated with P in front.

    One second (98 frames of 40 coefficients for KWT-1), in training as in evaluation: the beginning of a
    longer sound; a shorter one is followed by silence, as the keyword data sets pad it.
    """

    config: Config
    constants: dict[str, Tensor]

    @classmethod
    def from_folder(cls, folder: str) -> KeywordPreprocessor:
        """With the front end of the checkpoint in `folder`.

        Raises:
            U2AError: config.json or a constant of the front end is absent.
        """
        constants = read_tensors(folder, front_end=True)
        if lost := [name for name in CONSTANTS if name not in constants]:
            raise CheckpointError(
                f"{Path(folder) / WEIGHTS}: has no front end: {FRONT_END}{lost[0]} is missing"
            )
        return cls(read_config(folder), {name: constants[name].float() for name in CONSTANTS})

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode, mix to mono, resample, pad or cut, and compute the coefficients.

        Raises:
            BadSample: see `u2a_audio.decode.decode_mono`; or shorter than one window.
        """
        rate, length = self.config.sample_rate, self.config.samples
        wave, own_rate = decode_mono(member, length / rate + _MARGIN)
        wave_T = to_rate(torch.from_numpy(wave), own_rate, rate)[:length]
        if len(wave_T) < self.config.win:
            raise BadSample(f"the sound is shorter than {1000 * self.config.win / rate:.0f} ms")
        return {"coefficients": self.mfcc(torch.nn.functional.pad(wave_T, (0, length - len(wave_T))))}

    def mfcc(self, wave_T: Tensor) -> Tensor:
        """Float [T] in -1..1 to float [frames, C]: windowed magnitude spectrum, mel, log, cosine transform."""
        c = self.constants
        frames_TW = wave_T.unfold(0, self.config.win, self.config.hop) * c["window"]
        magnitude_TF = torch.hypot(frames_TW @ c["dft_re"].T, frames_TW @ c["dft_im"].T)
        log_mel_TM = (magnitude_TF @ c["mel"].T).maximum(c["log_floor"]).log()
        return (log_mel_TM @ c["dct"].T - c["norm_mean"]) * c["norm_scale"]

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Stack."""
        return {"coefficients": torch.stack([example["coefficients"] for example in examples])}
