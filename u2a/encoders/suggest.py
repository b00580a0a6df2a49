"""What plugins with transformers' encoders share when they suggest a recipe's section."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from u2a.encoders.files import PretrainedOptions, is_local
from u2a.errors import U2AError


def local_value(
    options: type[PretrainedOptions], given: Mapping[str, Any], read: Callable[[Any], int]
) -> int | None:
    """A number of the encoder that the person gave, if it is a folder that can be read; else None.

    Args:
        options: the modality's options.
        given: what the person chose.
        read: takes the number from validated options.
    """
    if "encoder" not in given:
        return None
    chosen = options.model_validate({"kind": "suggested", **given})
    try:
        return read(chosen) if is_local(chosen) else None
    except (U2AError, AttributeError):
        return None  # recipe check says what is wrong with it


def share_of(values: Sequence[float], share: float) -> float:
    """The value that so many of the others do not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def rounded_up(value: float, step: int) -> int:
    """The next multiple of a step."""
    return int(-(-value // step) * step)
