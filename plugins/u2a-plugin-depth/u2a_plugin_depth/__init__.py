"""The depth modality: depth maps through any image encoder."""

from __future__ import annotations

from collections.abc import Callable

import u2a
from u2a_plugin_depth import spec


@u2a.hookimpl
def u2a_register_modalities(register: Callable[[u2a.ModalitySpec], None]) -> None:
    """Register ``depth``."""
    register(spec.DEPTH)
