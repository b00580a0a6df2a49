"""The record of the text modality. Light: torch and transformers are imported inside the functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import Description, Inputs, ModalitySpec, Preprocessor, Suggestion, Tokens
from u2a.encoders.pretrained import PRETRAINED, encode, first_blocks, lora_targets, skip_blocks
from u2a.errors import BadSample
from u2a_text.options import TextOptions

if TYPE_CHECKING:
    from torch import nn

CONFIGS = Path(__file__).parent / "configs"


def backbone(options: TextOptions, *, weights: bool) -> nn.Module:
    """The text encoder; see `u2a.encoders.loading.load_backbone`."""
    from u2a_text import encoders

    return encoders.load(options, weights=weights, packaged=CONFIGS)


def embedding(backbone: nn.Module, inputs: Inputs) -> Tokens:
    """``input_ids`` and ``attention_mask``, long [P, L], to tokens."""
    from u2a_text import encoders

    return encoders.embed(backbone, inputs["input_ids"], inputs["attention_mask"])


def width(options: TextOptions) -> int:
    """Hidden size of the encoder."""
    from u2a_text import encoders

    return encoders.width(options, CONFIGS)


def preprocessor(options: TextOptions) -> Preprocessor:
    """See `u2a_text.preprocess.TextPreprocessor`."""
    from u2a_text.preprocess import TextPreprocessor

    return TextPreprocessor.from_options(options, CONFIGS)


def to_member(value: Any) -> bytes:
    """A string as UTF-8."""
    if not isinstance(value, str):
        raise BadSample(f"text must be a str, not {type(value).__name__}")
    return value.encode()


def suggest(size: str, members: Sequence[bytes], given: Mapping[str, Any]) -> Suggestion | None:
    """See `u2a_text.suggest`."""
    from u2a_text.suggest import suggest

    return suggest(size, members, given)


def describe(options: TextOptions, member: bytes) -> Description:
    """A text's length."""
    from u2a.media.texts import decode_text

    text = decode_text(member)
    return Description("text", {"characters": len(text), "words": len(text.split())})


def preview(options: TextOptions, member: bytes, width: int) -> str:
    """The text itself."""
    from u2a.media.texts import decode_text

    return decode_text(member)


TEXT = ModalitySpec(
    name="text",
    extensions=("txt",),
    options=TextOptions,
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
