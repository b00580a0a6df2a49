"""The fields of a recipe's audio section."""

from __future__ import annotations

from pydantic import Field

from u2a.encoders.files import PretrainedOptions
from u2a_audio.architectures import ARCHITECTURES


class AudioOptions(PretrainedOptions):
    """A recipe's section of kind ``audio``."""

    architectures = ARCHITECTURES

    max_length: int | None = Field(
        None,
        ge=16,
        le=8192,
        description="frames of 10 ms; longer sounds are cut; the AST pads shorter ones, and another length "
        "than its own (the default) interpolates its position table in time; encoders of waveforms take 1000, "
        "Whisper 3000",
    )
