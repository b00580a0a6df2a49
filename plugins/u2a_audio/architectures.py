"""Audio encoders of transformers that the audio modality takes, by ``model_type``."""

from __future__ import annotations

from u2a.encoders.architectures import Architecture

ARCHITECTURES = {
    "audio-spectrogram-transformer": Architecture("ASTModel", cls=(0, 1), norm="layernorm", direct=True)
}
