"""The text modality: BERT and its relatives over UTF-8 text."""

from __future__ import annotations

from collections.abc import Callable

import u2a
from u2a_text import spec


@u2a.hookimpl
def u2a_register_modalities(register: Callable[[u2a.ModalitySpec], None]) -> None:
    """Register ``text``."""
    register(spec.TEXT)
