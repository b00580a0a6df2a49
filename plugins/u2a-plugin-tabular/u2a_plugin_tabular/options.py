"""The fields of a recipe's tabular section."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

import u2a
from u2a.contract.paths import PathOrUrl, is_url


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
