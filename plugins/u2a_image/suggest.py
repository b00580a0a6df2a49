"""What ``u2a init`` writes into an image section: an encoder by size, a resolution for small pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from u2a.contract.modality import Suggestion
from u2a.encoders.suggest import local_value, rounded_up, share_of
from u2a.errors import BadSample
from u2a.media.probe import image_numbers
from u2a_image.constants import read_constants
from u2a_image.options import CONFIGS, ImageOptions

ENCODERS = {
    "tiny": ("WinKawaks/vit-tiny-patch16-224", 16),
    "small": ("facebook/dinov2-small", 14),
    "base": ("facebook/dinov2-base", 14),
}
NATIVE = 224


def suggest(size: str, members: Sequence[bytes], given: Mapping[str, Any]) -> Suggestion | None:
    """None if no member is a picture."""
    found = [numbers for member in members if (numbers := picture_numbers(member))]
    if not found:
        return None
    return for_sides([min(numbers["width (px)"], numbers["height (px)"]) for numbers in found], size, given)


def picture_numbers(member: bytes) -> dict[str, float]:
    """The measures of a picture, an animated one too; empty for anything else."""
    try:
        return image_numbers(member)
    except BadSample:
        return {}


def for_sides(sides: Sequence[float], size: str, given: Mapping[str, Any]) -> Suggestion:
    """For pictures whose shorter sides are known."""
    encoder, patch = ENCODERS[size]
    options: dict[str, Any] = {"encoder": encoder, **given}
    comments = {} if "encoder" in given else {"encoder": size}
    native = local_value(ImageOptions, given, _resolution) or NATIVE
    patch = local_value(ImageOptions, given, _patch) or patch
    side = share_of(sides, 0.5)
    if side <= 0.75 * native and "resolution" not in given:
        options["resolution"] = max(rounded_up(side, patch), 2 * patch)
        comments["resolution"] = (
            f"half of the pictures: shorter side at most {side:.0f} pixels; the encoder's own: {native}"
        )
    return Suggestion(options, comments)


def _resolution(options: ImageOptions) -> int:
    return min(read_constants(options, CONFIGS, None).output)


def _patch(options: ImageOptions) -> int:
    from u2a.encoders.files import config_folder, read_json

    config = read_json(config_folder(options, CONFIGS), "config.json")
    return int(config.get("vision_config", config)["patch_size"])
