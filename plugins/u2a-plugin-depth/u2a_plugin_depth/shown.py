"""Depth maps for people: measures, and a small grey picture."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from u2a_plugin_depth.decode import decode_depth
from u2a_plugin_depth.preprocess import inverse_depth


def numbers(member: bytes) -> dict[str, float]:
    """Size, nearest and farthest depth, and how much of the map has none.

    Raises:
        BadSample: see `decode_depth`.
    """
    metres_HW = decode_depth(member)
    return {
        "width (px)": metres_HW.shape[1],
        "height (px)": metres_HW.shape[0],
        "nearest (m)": float(np.nanmin(metres_HW)),
        "farthest (m)": float(np.nanmax(metres_HW)),
        "without depth (%)": 100 * float(np.isnan(metres_HW).mean()),
    }


def picture(member: bytes, near: float, far: float, width: int) -> Image.Image:
    """Inverse depth from 0 (black) to 1 (white), at most `width` pixels wide and high.

    Raises:
        BadSample: see `decode_depth`.
    """
    inverse_HW = inverse_depth(torch.from_numpy(decode_depth(member)), near, far)
    shown = Image.fromarray((inverse_HW.numpy() * 255).round().astype(np.uint8))
    shown.thumbnail((width, width))
    return shown
