"""What ``u2a init`` writes into a video section: an image section, and frames by the films' length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from u2a.contract.modality import Suggestion
from u2a.encoders.suggest import share_of
from u2a.errors import BadSample
from u2a.media.probe import film_numbers
from u2a_image.suggest import for_sides, picture_numbers


def suggest(size: str, members: Sequence[bytes], given: Mapping[str, Any]) -> Suggestion | None:
    """None if the members are no films."""
    found = [numbers for member in members if (numbers := _film_numbers(member))]
    if not found:
        return None
    sides = [min(numbers["width (px)"], numbers["height (px)"]) for numbers in found]
    image = for_sides(sides, size, given)
    seconds = share_of([numbers["seconds"] for numbers in found], 0.5)
    if "frames" in given:
        return image
    frames = min(max(round(seconds), 3), 8)
    why = f"of each clip; half of them last {seconds:.1f} s or less"
    return Suggestion({**image.options, "frames": frames}, {**image.comments, "frames": why})


def _film_numbers(member: bytes) -> dict[str, float]:
    """The measures of a film that is no picture; empty for anything else."""
    try:
        return {} if picture_numbers(member) else film_numbers(member)
    except BadSample:
        return {}
