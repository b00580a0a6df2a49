"""The fields of a recipe's text section."""

from __future__ import annotations

from pydantic import Field

from u2a.encoders.files import PretrainedOptions
from u2a_text.architectures import ARCHITECTURES


class TextOptions(PretrainedOptions):
    """A recipe's section of kind ``text``."""

    architectures = ARCHITECTURES

    max_length: int | None = Field(
        None,
        ge=3,
        description="most tokens of a text, CLS and SEP included; longer texts are cut; 512 or "
        "what the checkpoint allows if left out",
    )
