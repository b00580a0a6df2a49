"""What the plugins say and show of members; of those whose plugin says nothing, size and type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from u2a.contract.blame import ending_nothing
from u2a.contract.modality import Description
from u2a.errors import PluginError
from u2a.media.magic import type_of
from u2a.recipe.sections import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image


def describe(recipe: Recipe, name: str, data: bytes) -> Description:
    """What one member of a modality is.

    Raises:
        BadSample: it cannot be used.
        Exception: whatever else the plugin's own code raises.
    """
    options = recipe.modalities[name]
    spec = recipe.plugins.spec(options.kind)
    if spec.describe is None:
        return Description(type_of(data))
    with ending_nothing("describe"):
        found = spec.describe(options, data)
    if not isinstance(found, Description):
        raise PluginError(f"describe gave {type(found).__name__}, no u2a.Description")
    return found


def preview(recipe: Recipe, name: str, data: bytes, width: int) -> Image | str:
    """A small picture of one member of a modality, or a text.

    Raises:
        BadSample: it cannot be used.
        Exception: whatever else the plugin's own code raises.
    """
    from PIL.Image import Image

    options = recipe.modalities[name]
    spec = recipe.plugins.spec(options.kind)
    if spec.preview is None:
        return f"({len(data):,} bytes, {type_of(data)})"
    with ending_nothing("preview"):
        found = spec.preview(options, data, width)
    if not isinstance(found, Image | str):
        raise PluginError(f"preview gave {type(found).__name__}, no picture and no text")
    if isinstance(found, Image) and found.width > width:
        found.thumbnail((width, width))
    return found
