"""The audio modality: spectrogram and waveform encoders over sound files and the sound of videos."""

from __future__ import annotations

from collections.abc import Callable

import u2a
from u2a_audio import spec


@u2a.hookimpl
def u2a_register_modalities(register: Callable[[u2a.ModalitySpec], None]) -> None:
    """Register ``audio``."""
    register(spec.AUDIO)
