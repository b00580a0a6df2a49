"""The fields of a recipe's audio section."""

from __future__ import annotations

from pydantic import Field

from u2a.encoders.files import PretrainedOptions


class AudioOptions(PretrainedOptions):
    """A recipe's section of kind ``audio``."""

    max_length: int | None = Field(
        None,
        ge=16,
        le=8192,
        description="frames of 10 ms; longer sounds are cut, shorter padded; another length than the "
        "checkpoint's (the default) interpolates its position table in time",
    )
