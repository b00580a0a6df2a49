"""The record of the tabular modality. Light: torch is imported inside the functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import u2a
from u2a.contract.modality import Inputs, Preprocessor, Tokens
from u2a_plugin_tabular.options import TabularOptions

if TYPE_CHECKING:
    from torch import Tensor, nn


def preprocessor(options: TabularOptions) -> Preprocessor:
    """See `u2a_plugin_tabular.preprocess.TabularPreprocessor`."""
    from u2a_plugin_tabular.preprocess import TabularPreprocessor

    return TabularPreprocessor(options.columns)


def backbone(options: TabularOptions, *, weights: bool) -> nn.Module:
    """The transformer, from scratch or from ``encoder``; it is trained whole and saved whole."""
    from u2a_plugin_tabular import checkpoint

    return checkpoint.load(options, weights=weights)


def embedding(backbone: Any, inputs: Inputs) -> Tokens:
    """``numbers`` float [P, F] and ``categories`` long [P, G] to a class token and a token a column."""
    return Tokens(backbone.embed(inputs["numbers"], inputs["categories"]))


def encoder(backbone: Any, tokens: Tokens) -> Tensor:
    """All blocks and the final norm."""
    return backbone.encode(tokens.hidden_NLD, tokens.valid_NL)


def width(options: TabularOptions) -> int:
    """Width of the transformer."""
    return options.width


def lora_targets(backbone: Any) -> list[list[str]]:
    """Query, key, value and output of every block."""
    return [[f"blocks.{b}.attention.{name}" for name in "qkvo"] for b in range(len(backbone.blocks))]


def to_member(value: Any) -> bytes:
    """A mapping of column names to numbers, texts or None as JSON bytes."""
    from u2a_plugin_tabular.preprocess import encode_row

    return encode_row(value)


def describe(options: TabularOptions, member: bytes) -> u2a.Description:
    """How many of the recipe's columns a row fills."""
    from u2a_plugin_tabular.preprocess import filled

    return u2a.Description("row", {"filled columns": len(filled(member, options.columns))})


def preview(options: TabularOptions, member: bytes, width: int) -> str:
    """The recipe's columns that a row fills."""
    from u2a_plugin_tabular.preprocess import filled

    return ", ".join(f"{name}: {value}" for name, value in filled(member, options.columns).items())


TABULAR = u2a.ModalitySpec(
    name="tabular",
    extensions=("json",),
    options=TabularOptions,
    preprocessor=preprocessor,
    backbone=backbone,
    embedding=embedding,
    encoder=encoder,
    width=width,
    lora_targets=lora_targets,
    tune="full",
    describe=describe,
    preview=preview,
    to_member=to_member,
    api=2,
)
