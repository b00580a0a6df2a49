"""``[data]``: where the samples are, and which of them lose what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from u2a.contract.paths import PathOrUrl
from u2a.recipe.section import ModalityName, Name, Section

Shards = PathOrUrl | tuple[PathOrUrl, ...]


class MissingRule(Section):
    """Which samples of a split lose which modalities: drawn, or read from a file of ``u2a data mask``."""

    rate: float | None = Field(
        None, ge=0, le=1, description="share of the samples that are drawn; exact: 0.7 of 90 is 63"
    )
    missing: ModalityName | None = Field(
        None, description="what a drawn sample loses: a modality; each (even parts lose one each); or any"
    )
    seed: int | None = Field(None, ge=0, description="of the draw; the recipe's seed if left out")
    table: PathOrUrl | None = Field(None, description="a file written by u2a data mask, instead of drawing")

    @model_validator(mode="after")
    def _complete(self) -> MissingRule:
        if not self.given:
            raise ValueError("needs a rate, or a table made with: u2a data mask")
        return self

    @property
    def given(self) -> bool:
        """Whether this says which samples lose something."""
        return self.rate is not None or self.table is not None


class MissingSection(MissingRule):
    """``data.missing``: one rule for all splits, or a rule of their own for some."""

    train: MissingRule | None = None
    val: MissingRule | None = None
    test: MissingRule | None = None

    @model_validator(mode="after")
    def _complete(self) -> MissingSection:
        if not self.given and not (self.train or self.val or self.test):
            raise ValueError("needs a rate, or a table made with: u2a data mask")
        if not self.given and (self.missing or self.seed is not None):
            raise ValueError("missing and seed need a rate beside them")
        return self

    def rule(self, split: str) -> MissingRule | None:
        """The rule of a split: its own, else the common one, else none."""
        own: MissingRule | None = getattr(self, split, None) if split in ("train", "val", "test") else None
        return own or (self if self.given else None)


class DataSection(Section):
    """Where the samples are."""

    shards: PathOrUrl | dict[Name, Shards] = Field(
        description="folder or URL that holds dataset.json, or shard files by split"
    )
    indexes: dict[Name, Shards] | None = Field(
        None,
        description="where the indexes of a split's shards are, in the same order, if not beside them",
    )
    holdout: float | None = Field(
        None,
        gt=0,
        lt=0.5,
        description="share of the training samples held out for validation, chosen by seed",
    )
    workers: int | None = Field(None, ge=0, description="loader processes; by default chosen for the machine")
    on_error: Literal["fail", "skip"] = Field(
        "fail", description="what a sample does that cannot be read: ends the work, or is left out and counted"
    )
    cache_dir: PathOrUrl | None = Field(
        None, description="where shards from elsewhere are kept; $U2A_CACHE or ~/.cache/u2a if left out"
    )
    cache_gb: float = Field(50.0, gt=0, description="gigabytes that shards from elsewhere may take here")
    streaming: bool = Field(
        False, description="read train's shards one after another, without an index; see docs/data.md"
    )
    samples_per_epoch: int | None = Field(
        None, gt=0, description="what is called an epoch with streaming; needed there, unused elsewhere"
    )
    missing: MissingSection | None = Field(
        None, description="takes modalities away from samples, in training and evaluation"
    )
