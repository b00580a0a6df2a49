"""Which architecture a checkpoint is of, and why one is refused: what it reads, and what comes near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from u2a.common.hints import alike
from u2a.common.libraries import torchaudio
from u2a.encoders.architectures import Architecture
from u2a.encoders.files import PretrainedOptions, config_folder, read_json
from u2a.encoders.layouts import why_unusable
from u2a.errors import U2AError, WrongEncoder


def model_type(folder: Path, supported: Sequence[str], encoder: str) -> str:
    """The checkpoint's architecture, checked against what the plugin supports.

    Raises:
        U2AError: another architecture; says why, and lists the supported ones, the nearest first.
    """
    config = read_json(folder, "config.json")
    if why := why_unusable(config):
        raise U2AError(f"encoder {encoder} {why}")
    found = str(config["model_type"])
    if found not in supported:
        near = alike(found, supported, n=3)
        first = [*near, *(name for name in supported if name not in near)]
        said = f"encoder {encoder} is a {found!r} model; supported here: {', '.join(first)}"
        said += _why_not(found, config, supported)
        raise WrongEncoder(said, found)
    return found


def architecture_of(
    known: Mapping[str, Architecture], options: PretrainedOptions, packaged: Path | None = None
) -> Architecture:
    """What is known of the architecture of a recipe's checkpoint; errors: see `model_type`."""
    return known[model_type(config_folder(options, packaged), tuple(known), options.encoder)]


#: Why an encoder cannot be adapted, or mask tokens have no place in it.
_NO_PLACE = {
    **dict.fromkeys(
        ("swin", "swinv2", "hiera", "convnext", "convnextv2", "resnet", "pvt", "pvt_v2", "mobilevit", "bit"),
        "its stages merge or convolve neighbours, so a mask token has no place in them",
    ),
    "timesformer": "it divides tokens by frames, so a mask token belongs to none of them",
    "deberta": "its projections are fused; DeBERTa v2 and v3 are supported",
}
#: How transformers sorts its models; the first list that holds one says what it reads.
_READS = {
    "it is an image model": ("IMAGE_CLASSIFICATION", "MASKED_IMAGE_MODELING"),
    "it is a video model": ("VIDEO_CLASSIFICATION",),
    "it is an audio model": ("AUDIO_CLASSIFICATION", "CTC", "SPEECH_SEQ_2_SEQ", "AUDIO_XVECTOR"),
    "it is a text model": ("MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM"),
    "it is a text model that reads from left to right only": ("CAUSAL_LM",),
}


def _why_not(found: str, config: Mapping[str, Any], supported: Sequence[str]) -> str:
    torchaudio()
    from transformers.models.auto import modeling_auto

    for key, part in config.items():
        if isinstance(part, dict) and part.get("model_type") in supported:
            return (
                f"; its {key} is of a {part['model_type']!r} model: save that part of it alone "
                "(in transformers by its own save_pretrained), and name that folder"
            )
    reasons = [_NO_PLACE[found]] if found in _NO_PLACE else []
    for what, names in _READS.items():
        if any(found in getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES", {}) for name in names):
            reasons.insert(0, what)
            break
    return "".join(f"; {reason}" for reason in reasons)
