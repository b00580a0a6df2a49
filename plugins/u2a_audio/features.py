"""Sounds for encoders that have an extractor of their own in transformers (Whisper, wav2vec2-bert)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from u2a.contract.modality import Example, Inputs, Tokens
from u2a.encoders.files import config_folder
from u2a.encoders.loading import transformers_class
from u2a.encoders.quiet import quiet
from u2a.encoders.structure import split_tokens
from u2a.errors import BadSample, NoContent, U2AError, one_line
from u2a.media.filters import FRAME_SHIFT
from u2a_audio import encoders
from u2a_audio.architectures import EXTRACTORS
from u2a_audio.constants import feature_extractor_file, number
from u2a_audio.decode import decode_mono
from u2a_audio.preprocess import to_rate
from u2a_audio.waves import DEFAULT_FRAMES

if TYPE_CHECKING:
    from u2a_audio.options import AudioOptions

_SHORTEST = 0.05  # seconds
_MARGIN = 0.1


@dataclass(frozen=True)
class FeaturePreprocessor:
    """Member bytes to ``{"input_features": float32}``.

    Whisper: [mel bins, frames], always ``max_length`` frames, so collated [P, mel bins, frames].
    wav2vec2-bert: [frames / 2, 2 mel bins] of what the sound has, collated with ``attention_mask`` [P, L].
    """

    extractor: Any
    sampling_rate: int
    max_length: int
    padded: bool

    @classmethod
    def from_options(cls, options: AudioOptions, packaged: Path) -> FeaturePreprocessor:
        """With the checkpoint's own feature extractor.

        Raises:
            U2AError: its file is absent, means nothing, or does not fit config.json.
        """
        path, raw = feature_extractor_file(config_folder(options, packaged))
        config = encoders.configuration(options, packaged)
        name = EXTRACTORS[encoders.architecture(options, packaged).class_name]
        if raw.get("feature_extractor_type", name) != name:
            raise U2AError(f"{path}: feature_extractor_type must be {name} for a {config.model_type} encoder")
        rate = int(number(raw, "sampling_rate", path))
        extractor: Any = transformers_class(name)
        try:
            with quiet():
                made = extractor.from_dict(dict(raw))
        except Exception as error:  # of many kinds
            raise U2AError(f"{path}: cannot be used: {one_line(error, 200)}") from None
        whisper = name.startswith("Whisper")
        size = made.feature_size if whisper else made.num_mel_bins * made.stride
        wanted = config.num_mel_bins if whisper else config.feature_projection_input_dim
        if size != wanted:
            raise U2AError(
                f"{path}: gives {size} values a frame, but config.json's encoder takes {wanted}: "
                "the files are of different checkpoints"
            )
        longest = 2 * config.max_source_positions if whisper else DEFAULT_FRAMES
        return cls(made, rate, options.max_length or longest, whisper)

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode, mix to mono, resample, cut, and compute the features.

        Raises:
            BadSample: see `u2a_audio.decode.decode_mono`; NoContent if shorter than 50 ms.
        """
        seconds = self.max_length * FRAME_SHIFT
        wave, rate = decode_mono(member, seconds + _MARGIN)
        samples = round(seconds * self.sampling_rate)
        wave_T = to_rate(torch.from_numpy(wave), rate, self.sampling_rate)[:samples]
        if wave_T.numel() < self.sampling_rate * _SHORTEST:
            raise NoContent(f"the sound is shorter than {_SHORTEST * 1000:.0f} ms")
        how = {"padding": "max_length", "max_length": samples, "truncation": True} if self.padded else {}
        made = self.extractor(wave_T.numpy(), sampling_rate=self.sampling_rate, return_tensors="np", **how)
        values = torch.as_tensor(made["input_features"][0], dtype=torch.float32)
        if "attention_mask" in made and not self.padded:
            values = values[: int(made["attention_mask"][0].sum())]
        if not torch.isfinite(values).all():
            raise BadSample("no features come of the sound: its samples are too large")
        return {"input_features": values}

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Stack; pad with zeros, which the encoder masks, where lengths differ."""
        values = [example["input_features"] for example in examples]
        if self.padded:
            return {"input_features": torch.stack(values)}
        ones = [torch.ones(len(one), dtype=torch.long) for one in values]
        return {
            "input_features": pad_sequence(values, batch_first=True),
            "attention_mask": pad_sequence(ones, batch_first=True),
        }


def embed(backbone: Any, inputs: Inputs) -> Tokens:
    """Tokens of an encoder's own convolutions or projection; all of Whisper's are real, silence too."""
    mask_NL = inputs.get("attention_mask")
    if hasattr(backbone, "feature_projection"):  # begins with a norm, which wants one precision
        dtype = backbone.feature_projection.layer_norm.weight.dtype
        inputs = {**inputs, "input_features": inputs["input_features"].to(dtype)}
    return split_tokens(backbone, inputs, None if mask_NL is None else mask_NL.bool())
