"""The features modality: vectors that were extracted elsewhere, through a small transformer."""

from __future__ import annotations

from collections.abc import Callable

import u2a
from u2a_plugin_features import spec


@u2a.hookimpl
def u2a_register_modalities(register: Callable[[u2a.ModalitySpec], None]) -> None:
    """Register ``features``."""
    register(spec.FEATURES)
