"""Audio encoders of transformers that the audio modality takes, by ``model_type``."""

from __future__ import annotations

from dataclasses import replace

from u2a.encoders.architectures import Architecture

#: Randomness of pretraining that would go on in training: masked spans, and whole blocks left out.
_STILL = {"apply_spec_augment": False, "layerdrop": 0.0}


def _waves(name: str) -> Architecture:
    """An encoder of waveforms; its final norm stands before or behind the blocks, by its configuration."""
    return Architecture(name, cls=None, settings=_STILL, unused=("masked_spec_embed",))


ARCHITECTURES = {
    "audio-spectrogram-transformer": Architecture("ASTModel", cls=(0, 1), norm="layernorm"),
    "wav2vec2": _waves("Wav2Vec2Model"),
    "hubert": _waves("HubertModel"),
    "data2vec-audio": _waves("Data2VecAudioModel"),
    "wavlm": replace(_waves("WavLMModel"), tuples=2),
    "wav2vec2-bert": _waves("Wav2Vec2BertModel"),
    "whisper": Architecture(
        "WhisperModel",
        cls=None,
        norm="layer_norm",
        part="encoder",
        settings={"apply_spec_augment": False, "encoder_layerdrop": 0.0},
        unused=("decoder.",),
    ),
}
#: Those that read a spectrogram of their own, and who makes it.
EXTRACTORS = {
    "Wav2Vec2BertModel": "SeamlessM4TFeatureExtractor",
    "WhisperModel": "WhisperFeatureExtractor",
}
