"""The tabular modality: a row of numbers and categories through a small transformer."""

from __future__ import annotations

from collections.abc import Callable

import u2a
from u2a_plugin_tabular import spec


@u2a.hookimpl
def u2a_register_modalities(register: Callable[[u2a.ModalitySpec], None]) -> None:
    """Register ``tabular``."""
    register(spec.TABULAR)
