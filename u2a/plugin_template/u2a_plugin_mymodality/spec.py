"""The record of the mymodality modality. Light: torch is imported inside the functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

import u2a
from u2a.contract.modality import Inputs, Preprocessor, Tokens

if TYPE_CHECKING:
    from torch import Tensor, nn


class MyModalityOptions(u2a.ModalityOptions):
    """A recipe's section of kind ``mymodality``."""

    features: int = Field(gt=0, description="numbers in each step of a series")
    longest: int = Field(256, gt=0, description="most steps of a series; longer ones are cut")
    width: int = Field(64, gt=0, description="width of the transformer")
    layers: int = Field(2, gt=0, description="blocks of the transformer")
    heads: int = Field(4, gt=0, description="attention heads of a block; they divide the width")

    @model_validator(mode="after")
    def _heads_fit(self) -> MyModalityOptions:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) is not divisible by heads ({self.heads})")
        return self


def preprocessor(options: MyModalityOptions) -> Preprocessor:
    """See `u2a_plugin_mymodality.preprocess.MyModalityPreprocessor`."""
    from u2a_plugin_mymodality.preprocess import MyModalityPreprocessor

    return MyModalityPreprocessor(options.features, options.longest)


def backbone(options: MyModalityOptions, *, weights: bool) -> nn.Module:
    """The transformer, freshly initialised: it is trained whole and saved whole."""
    from u2a_plugin_mymodality.network import SeriesTransformer

    return SeriesTransformer(options.features, options.longest, options.width, options.layers, options.heads)


def embedding(backbone: Any, inputs: Inputs) -> Tokens:
    """``values`` float [P, T, F] and ``lengths`` long [P] to a class token and a token a step."""
    return Tokens(*backbone.embed(inputs["values"], inputs["lengths"]))


def encoder(backbone: Any, tokens: Tokens) -> Tensor:
    """All blocks and the final norm."""
    return backbone.encode(tokens.hidden_NLD, tokens.valid_NL)


def width(options: MyModalityOptions) -> int:
    """Width of the transformer."""
    return options.width


def lora_targets(backbone: Any) -> list[list[str]]:
    """Query, key, value and output of every block, for who sets ``tune = "lora"`` with pretrained weights."""
    return [[f"blocks.{b}.attention.{name}" for name in "qkvo"] for b in range(len(backbone.blocks))]


def to_member(value: Any) -> bytes:
    """A float array or tensor [T, F] as NPY bytes."""
    from u2a_plugin_mymodality.decode import encode_npy

    return encode_npy(value)


def describe(options: MyModalityOptions, member: bytes) -> u2a.Description:
    """How long a series is, for `u2a data inspect`."""
    from u2a_plugin_mymodality.decode import decode_series

    return u2a.Description("series", {"steps": len(decode_series(member, options.features))})


def preview(options: MyModalityOptions, member: bytes, width: int) -> str:
    """A series' first step, for galleries; a picture (`PIL.Image`) would do as well."""
    from u2a_plugin_mymodality.decode import decode_series

    return f"begins with {decode_series(member, options.features)[:1].tolist()}"


MYMODALITY = u2a.ModalitySpec(
    name="mymodality",
    extensions=("npy",),
    options=MyModalityOptions,
    preprocessor=preprocessor,
    backbone=backbone,
    embedding=embedding,
    encoder=encoder,
    width=width,
    lora_targets=lora_targets,
    tune="full",
    to_member=to_member,
    describe=describe,
    preview=preview,
    api=2,
)
