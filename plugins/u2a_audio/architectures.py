"""Audio encoders of transformers that the audio modality takes, by ``model_type``."""

from __future__ import annotations

from u2a.encoders.architectures import Architecture

#: Randomness of pretraining that would go on in training: masked spans, and whole blocks left out.
_STILL = {"apply_spec_augment": False, "layerdrop": 0.0}


def _waves(name: str) -> Architecture:
    """An encoder of waveforms; its final norm stands before or behind the blocks, by its configuration."""
    return Architecture(name, cls=None, settings=_STILL, unused=("masked_spec_embed",))


ARCHITECTURES = {
    "audio-spectrogram-transformer": Architecture("ASTModel", cls=(0, 1), norm="layernorm", direct=True),
    "wav2vec2": _waves("Wav2Vec2Model"),
    "hubert": _waves("HubertModel"),
    "data2vec-audio": _waves("Data2VecAudioModel"),
}
