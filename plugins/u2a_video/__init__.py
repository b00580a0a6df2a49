"""The video modality: a few frames of a clip, through an image encoder one by one or a video encoder."""

from __future__ import annotations

from collections.abc import Callable

import u2a
from u2a_video import spec


@u2a.hookimpl
def u2a_register_modalities(register: Callable[[u2a.ModalitySpec], None]) -> None:
    """Register ``video``."""
    register(spec.VIDEO)
