"""The record of the audio modality. Light: torch and transformers are imported inside the functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import Description, Inputs, ModalitySpec, Preprocessor, Suggestion, Tokens
from u2a.encoders.pretrained import PRETRAINED, encode, first_blocks, lora_targets, skip_blocks
from u2a_audio.architectures import EXTRACTORS
from u2a_audio.options import AudioOptions

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn

CONFIGS = Path(__file__).parent / "configs"


def backbone(options: AudioOptions, *, weights: bool) -> nn.Module:
    """The audio encoder; see `u2a.encoders.loading.load_backbone`."""
    from u2a_audio import encoders

    return encoders.load(options, weights=weights, packaged=CONFIGS)


def embedding(backbone: Any, inputs: Inputs) -> Tokens:
    """To tokens: ``input_values``, spectrograms [P, frames, mel bins], or waves [P, T] with ``samples_P``;
    ``input_features``, what Whisper's or wav2vec2-bert's own extractor makes.
    """
    if "input_features" in inputs:
        from u2a_audio import features

        return features.embed(backbone, inputs)
    if "samples_P" in inputs:
        from u2a_audio import waves

        return waves.embed(backbone, inputs)
    from u2a.encoders.structure import split_tokens

    return split_tokens(backbone, inputs)


def width(options: AudioOptions) -> int:
    """Hidden size of the encoder."""
    from u2a_audio import encoders

    return int(encoders.configuration(options, CONFIGS).hidden_size)


def preprocessor(options: AudioOptions) -> Preprocessor:
    """See `u2a_audio.preprocess.AudioPreprocessor` and `u2a_audio.waves.WavePreprocessor`."""
    from u2a_audio import encoders
    from u2a_audio.features import FeaturePreprocessor
    from u2a_audio.preprocess import AudioPreprocessor
    from u2a_audio.waves import WavePreprocessor

    known = encoders.architecture(options, CONFIGS)
    if known.class_name in EXTRACTORS:
        return FeaturePreprocessor.from_options(options, CONFIGS)
    if known.class_name == "ASTModel":
        return AudioPreprocessor.from_options(options, CONFIGS)
    return WavePreprocessor.from_options(options, CONFIGS)


def to_member(value: Any) -> bytes:
    """A pair (wave, rate in Hz), the wave an array [T] or [channels, T], as WAV bytes."""
    from u2a_audio.decode import encode_wav

    return encode_wav(value)


def suggest(size: str, members: Sequence[bytes], given: Mapping[str, Any]) -> Suggestion | None:
    """See `u2a_audio.suggest`."""
    from u2a_audio.suggest import suggest

    return suggest(size, members, given)


def describe(options: AudioOptions, member: bytes) -> Description:
    """A sound's length and rate."""
    from u2a.media.probe import sound_numbers

    return Description("audio", sound_numbers(member))


def preview(options: AudioOptions, member: bytes, width: int) -> Image:
    """The waveform, mixed down as it is read."""
    from u2a.media.probe import wave

    return wave(member, width)


AUDIO = ModalitySpec(
    name="audio",
    extensions=(
        *("wav", "flac", "ogg", "oga", "opus", "mp3", "m4a", "m4b", "aac", "aif", "aiff", "aifc"),
        *("caf", "au", "w64", "wma", "amr", "3ga", "mka", "weba"),
        *("mp4", "m4v", "mov", "mkv", "webm", "avi", "flv", "ts", "mts", "m2ts", "mpg", "mpeg", "vob"),
        *("3gp", "3g2", "wmv", "asf", "ogv"),
    ),
    options=AudioOptions,
    preprocessor=preprocessor,
    backbone=backbone,
    embedding=embedding,
    encoder=encode,
    width=width,
    lora_targets=lora_targets,
    first_blocks=first_blocks,
    skip_blocks=skip_blocks,
    to_member=to_member,
    suggest=suggest,
    describe=describe,
    preview=preview,
    tune=PRETRAINED,
    api=2,
)
