"""The mymodality modality."""

from __future__ import annotations

from collections.abc import Callable

import u2a
from u2a_plugin_mymodality import spec


@u2a.hookimpl
def u2a_register_modalities(register: Callable[[u2a.ModalitySpec], None]) -> None:
    """Register ``mymodality``."""
    register(spec.MYMODALITY)
