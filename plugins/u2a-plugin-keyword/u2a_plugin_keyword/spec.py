"""The record of the keyword modality. Light: torch is imported inside the functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

import u2a
from u2a.contract.modality import Inputs, Preprocessor, Tokens
from u2a.contract.paths import PathOrUrl, is_url

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn


def _local(path: str) -> str:
    if is_url(path):
        raise ValueError("must be a folder on this machine")
    return path


class KeywordOptions(u2a.ModalityOptions):
    """A recipe's section of kind ``keyword``."""

    encoder: Annotated[str, PathOrUrl.__metadata__[0], AfterValidator(_local)] = Field(
        description="folder with the Keyword Transformer's config.json and model.safetensors",
        examples=["./encoders/kwt1"],
    )


def backbone(options: KeywordOptions, *, weights: bool) -> nn.Module:
    """The transformer; with ``weights`` its checkpoint is read (safetensors), else only config.json."""
    from u2a_plugin_keyword import checkpoint

    return checkpoint.load(options.encoder, weights=weights)


def embedding(backbone: Any, inputs: Inputs) -> Tokens:
    """``coefficients`` float [P, frames, MFCC] to a class token and a token a frame, with positions."""
    return Tokens(backbone.embed(inputs["coefficients"]))


def encoder(backbone: Any, tokens: Tokens) -> Tensor:
    """All blocks; post-norm, so the last block's second norm is the final norm."""
    return backbone.encode(tokens.hidden_NLD, tokens.valid_NL)


def width(options: KeywordOptions) -> int:
    """Width of the transformer, from config.json."""
    from u2a_plugin_keyword import checkpoint

    return checkpoint.read_config(options.encoder).d_model


def lora_targets(backbone: Any) -> list[list[str]]:
    """Query, key, value and output of every block."""
    return [[f"layers.{b}.attn.{name}" for name in "qkvo"] for b in range(len(backbone.layers))]


def preprocessor(options: KeywordOptions) -> Preprocessor:
    """See `u2a_plugin_keyword.preprocess.KeywordPreprocessor`."""
    from u2a_plugin_keyword.preprocess import KeywordPreprocessor

    return KeywordPreprocessor.from_folder(options.encoder)


def to_member(value: Any) -> bytes:
    """A pair (wave, rate in Hz), the wave an array [T] or [channels, T], as WAV bytes."""
    from u2a_audio.decode import encode_wav

    return encode_wav(value)


def describe(options: KeywordOptions, member: bytes) -> u2a.Description:
    """A sound's length and rate."""
    from u2a.media.probe import sound_numbers

    return u2a.Description("audio", sound_numbers(member))


def preview(options: KeywordOptions, member: bytes, width: int) -> Image:
    """The waveform."""
    from u2a.media.probe import wave

    return wave(member, width)


KEYWORD = u2a.ModalitySpec(
    name="keyword",
    extensions=("wav", "flac", "ogg", "opus", "mp3", "m4a", "aac", "aif", "aiff"),
    options=KeywordOptions,
    preprocessor=preprocessor,
    backbone=backbone,
    embedding=embedding,
    encoder=encoder,
    width=width,
    lora_targets=lora_targets,
    to_member=to_member,
    describe=describe,
    preview=preview,
    tune=("lora", "frozen", "full"),
    api=2,
)
