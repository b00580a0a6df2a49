"""Whether a checkpoint's image processor does what u2a does in its place: scale, crop, rescale, normalise."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from u2a.encoders.quiet import quiet
from u2a_image.reader import DEFAULTS, Reader

#: They are held against u2a's own by the tests, switch by switch.
_KNOWN = frozenset(DEFAULTS.values()) - {"Siglip2ImageProcessor"}  # that one cuts patches
#: As a share of all values of a picture that changes slowly.
_TOLERANCE = 0.03


def plain_name(processor: Any) -> str:
    """A processor's class, without the library that it computes with."""
    return re.sub(r"(Fast|Pil)$", "", type(processor).__name__)


def unlike(reader: Reader, ours: Any, size: tuple[int, int] | None) -> str | None:
    """What a processor gives that u2a's own does not, of one picture; None where the two agree.

    Args:
        ours: u2a's own evaluation of uint8 [3, H, W].
        size: the (height, width) that pictures must have; None = any.
    """
    if plain_name(reader.processor) in _KNOWN:
        return None
    picture_CHW = _probe(*(size or (67, 101)))
    try:
        with quiet():
            given = reader.processor(picture_CHW.permute(1, 2, 0).numpy(), return_tensors="pt")["pixel_values"]
        theirs = torch.as_tensor(given[0]).float()
    except Exception:  # it wants more than a picture: nothing to compare
        return None
    found: Tensor = ours(picture_CHW)
    if theirs.shape != found.shape:
        return f"it gives {list(theirs.shape)} where a scaled and cropped picture is {list(found.shape)}"
    std_C11 = torch.tensor(reader.mean_and_std()[1])[:, None, None]
    spread = max(1e-6, float((theirs * std_C11).max() - (theirs * std_C11).min()))
    far = float(((theirs - found) * std_C11).abs().max()) / spread
    return None if far <= _TOLERANCE else f"a picture scaled and cropped as u2a does it differs by {far:.0%}"


def _probe(height: int, width: int) -> Tensor:
    """A picture whose colours tell the place, from edge to edge."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return (torch.stack([x, y, (x - y).abs()]) * 255).round().to(torch.uint8)
