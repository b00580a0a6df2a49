"""The sizes of a keyword transformer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """The entries of ``config.json`` that the network and its front end need."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    d_model: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    mlp: int = Field(gt=0)
    tokens: int = Field(gt=1)
    ln_eps: float = Field(1e-6, gt=0)
    sample_rate: int = Field(gt=0)
    win: int = Field(gt=0)
    hop: int = Field(gt=0)
    n_mfcc: int = Field(gt=0)

    @property
    def samples(self) -> int:
        """Length in samples of the sound that fills all positions: one second for KWT-1."""
        return self.win + (self.tokens - 2) * self.hop
