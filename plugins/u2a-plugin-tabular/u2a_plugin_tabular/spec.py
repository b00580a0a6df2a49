"""The record of the tabular modality. Light: torch is imported inside the functions."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

import u2a
from u2a.modality import Inputs, Preprocessor, Tokens
from u2a.paths import PathOrUrl, is_url

if TYPE_CHECKING:
    from torch import Tensor, nn


class Numbers(BaseModel):
    """A column of numbers; they are standardised as ``(x - mean) / std``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mean: float = Field(description="mean of the training samples")
    std: float = Field(gt=0, description="standard deviation of the training samples")


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"{twice[0]!r} is named twice")
    return values


class Categories(BaseModel):
    """A column of categories; any other value than these counts as unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_unique)] = Field(
        description="the categories"
    )


Columns = dict[Annotated[str, Field(min_length=1)], Numbers | Categories]


def _local(path: str | None) -> str | None:
    if path is not None and is_url(path):
        raise ValueError("must be a folder on this machine")
    return path


class TabularOptions(u2a.ModalityOptions):
    """A recipe's section of kind ``tabular``."""

    columns: Columns = Field(
        min_length=1,
        description="name of each column to its mean and std, or to the values of a category",
        examples=[{"age": {"mean": 38.5, "std": 13.1}, "city": {"values": ["Lima", "Oslo"]}}],
    )
    width: int = Field(64, gt=0, description="width of the transformer")
    layers: int = Field(3, gt=0, description="blocks of the transformer")
    heads: int = Field(4, gt=0, description="attention heads of a block; they divide the width")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout after attention and feed-forward")
    encoder: Annotated[str | None, PathOrUrl.__metadata__[0], AfterValidator(_local)] = Field(
        None, description="folder of a pretrained encoder to start from; from scratch if left out"
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> TabularOptions:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) is not divisible by heads ({self.heads})")
        return self


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


def share_key(options: TabularOptions) -> Hashable | None:
    """None: an encoder that is trained whole is nobody else's."""
    return None


def to_member(value: Any) -> bytes:
    """A mapping of column names to numbers, texts or None as JSON bytes."""
    from u2a_plugin_tabular.preprocess import encode_row

    return encode_row(value)


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
    share_key=share_key,
    tune="full",
    to_member=to_member,
    api=1,
)
