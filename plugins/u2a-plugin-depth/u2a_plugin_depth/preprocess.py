"""Depth in metres to the three channels that an encoder pretrained on RGB wants.

Inverse depth, as in Omnivore (Girdhar et al., CVPR 2022, https://arxiv.org/abs/2201.08377; its code clamps
depth and works on disparity) and MiDaS: near structure keeps its contrast, and the far and the unknown are
both dark. Omnivore's disparity is baseline x focal length / depth, which needs each sensor's calibration;
here the scale is the recipe's range: ``(1 / z - 1 / far) / (1 / near - 1 / far)``, clamped to 0..1. The one
channel is repeated three times and normalised with the checkpoint's own mean and deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

from u2a.contract.modality import Example, Inputs
from u2a_image.options import CONFIGS
from u2a_image.preprocess import PixelTransform
from u2a_plugin_depth.decode import decode_depth

if TYPE_CHECKING:
    from torch import Tensor

    from u2a_plugin_depth.options import DepthOptions


@dataclass(frozen=True)
class DepthPreprocessor:
    """Member bytes to ``{"pixel_values": float32 [3, R, R], "valid": bool [R, R]}``; collated with P in front.

    ``valid`` is the validity mask after the crop: True where at least half of a pixel's area was measured.
    Invalid places take part in no average: a pixel is the mean inverse depth of what is valid in it, and 0
    (as if at ``far``) where nothing is.
    """

    transform: PixelTransform
    near: float
    far: float

    @classmethod
    def from_options(cls, options: DepthOptions) -> DepthPreprocessor:
        """With crop, size and constants of the image modality.

        Raises:
            U2AError: the checkpoint's files are absent or lack a constant.
        """
        transform = PixelTransform.from_options(options, CONFIGS)
        # Bicubic overshoots: at the edge of a hole that would give depths that are not in the map.
        constants = replace(transform.constants, filter=_PILLOW_BILINEAR)
        return cls(replace(transform, constants=constants), options.near, options.far)

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode, encode as inverse depth, crop, scale and normalise one map.

        Raises:
            BadSample: see `u2a_plugin_depth.decode.decode_depth`.
        """
        metres_HW = decode_depth(member)
        view = self.transform.choose(metres_HW.shape[::-1], train=train, seed=seed)
        valid_HW = torch.from_numpy(np.isfinite(metres_HW))
        inverse_HW = inverse_depth(torch.from_numpy(metres_HW), self.near, self.far)
        share_HW = valid_HW.float()
        weighted_RR, share_RR, _ = self.transform.place(torch.stack([inverse_HW, share_HW, share_HW]), view)
        grey_RR = weighted_RR / share_RR.clamp(min=1e-6)
        constants = self.transform.constants
        pixels = F.normalize(grey_RR.expand(3, -1, -1), list(constants.mean), list(constants.std))
        return {"pixel_values": pixels, "valid": share_RR >= 0.5}

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Stack."""
        return {
            name: torch.stack([example[name] for example in examples]) for name in ("pixel_values", "valid")
        }


_PILLOW_BILINEAR = 2


def inverse_depth(metres_HW: Tensor, near: float, far: float) -> Tensor:
    """Inverse depth scaled to 0 (``far`` and beyond, and NaN) .. 1 (``near`` and nearer)."""
    scaled = (1 / metres_HW - 1 / far) / (1 / near - 1 / far)
    return scaled.nan_to_num(0.0).clamp(0, 1)
