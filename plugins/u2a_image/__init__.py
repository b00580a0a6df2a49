"""The image modality: CLIP's vision tower, ViT or DINOv2 over PNG, JPEG, WebP, GIF, BMP and TIFF files."""

from __future__ import annotations

from collections.abc import Callable

import u2a
from u2a_image import spec


@u2a.hookimpl
def u2a_register_modalities(register: Callable[[u2a.ModalitySpec], None]) -> None:
    """Register ``image``."""
    register(spec.IMAGE)
