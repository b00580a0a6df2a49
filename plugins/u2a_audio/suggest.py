"""What ``u2a init`` writes into an audio section: an encoder by size, a length from the sounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from u2a.contract.modality import Suggestion
from u2a.encoders.suggest import local_value, rounded_up, share_of
from u2a.errors import BadSample
from u2a.media.probe import seconds_of_sound
from u2a_audio import encoders
from u2a_audio.options import AudioOptions
from u2a_audio.spec import CONFIGS

ENCODERS = {
    **dict.fromkeys(("tiny", "small"), "ntu-spml/distilhubert"),
    "base": "MIT/ast-finetuned-audioset-10-10-0.4593",
}
MOST, LEAST = 1024, 64


def suggest(size: str, members: Sequence[bytes], given: Mapping[str, Any]) -> Suggestion | None:
    """None if the members hold no sound."""
    seconds = [length for member in members if (length := _seconds(member)) is not None]
    if not seconds:
        return None
    options: dict[str, Any] = {"encoder": ENCODERS[size], **given}
    comments = {} if "encoder" in given else {"encoder": size}
    most = local_value(AudioOptions, given, _frames) or MOST
    longest = share_of(seconds, 0.95)
    frames = max(rounded_up(100 * longest, 32), LEAST)
    if frames < most and "max_length" not in given:
        options["max_length"] = frames
        comments["max_length"] = f"frames of 10 ms; 19 of 20 sounds last at most {longest:.1f} s"
    return Suggestion(options, comments)


def _seconds(member: bytes) -> float | None:
    try:
        return seconds_of_sound(member)
    except BadSample:
        return None


def _frames(options: AudioOptions) -> int:
    return int(getattr(encoders.configuration(options, CONFIGS), "max_length", MOST))
