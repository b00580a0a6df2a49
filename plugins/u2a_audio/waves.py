"""Sounds for encoders that read the waveform itself (wav2vec 2.0 and its relatives)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from u2a.contract.modality import Example, Inputs, Tokens
from u2a.encoders.files import config_folder
from u2a.encoders.structure import Handed, first_half
from u2a.errors import NoContent
from u2a.media.filters import FRAME_SHIFT
from u2a_audio.constants import feature_extractor_file, number
from u2a_audio.decode import decode_mono
from u2a_audio.preprocess import to_rate

if TYPE_CHECKING:
    from u2a_audio.options import AudioOptions

DEFAULT_FRAMES = 1000  # 10 s
_SHORTEST = 0.025  # seconds: what the convolutional stem makes one token of
_MARGIN = 0.1


@dataclass(frozen=True)
class WavePreprocessor:
    """Member bytes to ``{"input_values": float32 [T]}``; collated ``input_values`` [P, T] and ``samples_P``.

    The first ``max_length`` frames of 10 ms, in training as in evaluation; shorter sounds stay short.
    """

    sampling_rate: int
    max_length: int
    normalise: bool

    @classmethod
    def from_options(cls, options: AudioOptions, packaged: Path) -> WavePreprocessor:
        """With the constants of the checkpoint's feature extractor.

        Raises:
            U2AError: its file is absent, or a value in it means nothing.
        """
        path, raw = feature_extractor_file(config_folder(options, packaged))
        rate = int(number(raw, "sampling_rate", path))
        return cls(rate, options.max_length or DEFAULT_FRAMES, raw.get("do_normalize") is not False)

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode, mix to mono, resample, cut, and bring to mean 0 and variance 1 where the checkpoint wants it.

        Raises:
            BadSample: see `u2a_audio.decode.decode_mono`; NoContent if shorter than 25 ms.
        """
        seconds = self.max_length * FRAME_SHIFT
        wave, rate = decode_mono(member, seconds + _MARGIN)
        wave_T = to_rate(torch.from_numpy(wave), rate, self.sampling_rate)[
            : round(seconds * self.sampling_rate)
        ]
        if wave_T.numel() < self.sampling_rate * _SHORTEST:
            raise NoContent(f"the sound is shorter than {_SHORTEST * 1000:.0f} ms")
        if self.normalise:
            wave_T = (wave_T - wave_T.mean()) / torch.sqrt(wave_T.var(correction=0) + 1e-7)
        return {"input_values": wave_T}

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Pad with zeros, which no sound is computed with."""
        waves = [example["input_values"] for example in examples]
        lengths = torch.tensor([len(wave) for wave in waves])
        return {"input_values": pad_sequence(waves, batch_first=True), "samples_P": lengths}


def embed(backbone: Any, inputs: Inputs) -> Tokens:
    """Tokens of the convolutional stem, each sound on its own: its norms and positions see no padding."""
    known = backbone.u2a_architecture
    lengths = inputs["samples_P"].tolist()
    rows = [
        first_half(backbone, known, {"input_values": wave_T[None, :length]})
        for wave_T, length in zip(inputs["input_values"], lengths, strict=True)
    ]
    hidden = [row.hidden_NLD[0] for row in rows if row.hidden_NLD is not None]
    hidden_NLD = pad_sequence(hidden, batch_first=True)
    counts = torch.tensor([len(one) for one in hidden], device=hidden_NLD.device)
    valid_NL = torch.arange(hidden_NLD.shape[1], device=hidden_NLD.device) < counts[:, None]
    mask = {"attention_mask": valid_NL[:, None, None, :]}
    calls = [(args[1:], {**kwargs, **mask}) for args, kwargs in rows[0].calls]
    handed = Handed(known.tuples, hidden_NLD, calls)
    return Tokens(hidden_NLD, valid_NL, cls=known.cls, extra={"handed": handed})
