"""The paper: branch, selection, losses, model, objective. No recipe, no data, no registry, no disk."""

from u2a.common.libraries import torchaudio

torchaudio()  # before peft is imported, which imports transformers
