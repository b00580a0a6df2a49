"""Folders and files that are no transformers checkpoint: what each is, and what to do instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

_SAME = "use the checkpoint of the same encoder that transformers reads: config.json with model.safetensors"
_FILES = {
    ".gguf": "a GGUF file, weights quantised for llama.cpp; " + _SAME,
    ".onnx": "an ONNX graph, which cannot be adapted; " + _SAME,
    ".safetensors": "a file of weights; name the folder that holds it and its config.json",
    **dict.fromkeys(
        (".bin", ".pt", ".pth", ".ckpt"),
        "a file that only pickle reads; name the folder that comes of converting it once, its config.json "
        "beside it: u2a encoder convert FILE NEW",
    ),
    **dict.fromkeys((".h5", ".msgpack", ".pb", ".tflite"), "weights of another library; " + _SAME),
    **dict.fromkeys((".zip", ".gz", ".tar", ".tgz"), "an archive; unpack it and name its folder"),
    ".json": "a file; name its folder",
}


def what_file(path: Path) -> str:
    """What a file is that was named in place of a folder, and what to do."""
    return f"is {_FILES.get(path.suffix.lower(), 'a file; name the folder of a checkpoint')}"


def what_folder(folder: Path) -> str | None:
    """What a folder without ``config.json`` is, and what to do; None if nothing tells."""
    for of_this_kind, said in _LAYOUTS:
        try:
            if found := of_this_kind(folder):
                return said.format(folder=_short(folder), found=found)
        except OSError:
            continue
    return None


def why_unusable(config: dict[str, object]) -> str | None:
    """What a ``config.json`` is that describes no model of transformers' own; None if it may be one."""
    if "architecture" in config and ("pretrained_cfg" in config or "num_features" in config):
        return f"is a timm checkpoint ({config['architecture']}), whose tensors have other names; {_SAME}"
    if "model_cfg" in config:
        return f"is an open_clip checkpoint, whose tensors have other names; {_SAME}"
    if quantised := config.get("quantization_config"):
        method = quantised.get("quant_method", "") if isinstance(quantised, dict) else ""
        return f"is quantised ({method or 'quantization_config'}), and cannot be adapted; use the original one"
    if "model_type" not in config:
        return "has a config.json without model_type, so it is none of transformers; " + _SAME
    return None


def other_weights(folder: Path) -> str | None:
    """Weights of another kind that lie where safetensors are looked for, and what to do."""
    kinds = {
        "*.gguf": "GGUF weights alone (quantised for llama.cpp)",
        "*.onnx": "an ONNX graph alone",
        "onnx/*.onnx": "an ONNX graph alone",
        "tf_model.h5": "TensorFlow weights alone",
        "flax_model*.msgpack": "Flax weights alone",
        "rust_model.ot": "weights for Rust alone",
        "openvino_model.bin": "OpenVINO weights alone",
    }
    found = next((said for pattern, said in kinds.items() if any(folder.glob(pattern))), None)
    return f"it has {found}; {_SAME}" if found else None


#: What a training keeps beside the weights, of transformers' own.
_BESIDE = ("optimizer", "scheduler", "scaler", "rng_state", "training_args", "adapter_model")


def pickles(folder: Path) -> list[Path]:
    """Files that may be weights, and that only pickle reads."""
    found = (path for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in sorted(folder.glob(pattern)))
    return [path for path in found if not path.name.startswith(_BESIDE)]


def is_pointer(file: Path) -> bool:
    """Whether git-lfs left a pointer where a file should be."""
    return file.stat().st_size < 1024 and file.read_bytes().startswith(b"version https://git-lfs")


def _short(folder: Path) -> str:
    return f"./{folder.name}"


def _first(folder: Path, *patterns: str) -> str:
    """The first thing that is there; of a ``config.json`` further down, its folder."""
    found = (path for pattern in patterns for path in sorted(folder.glob(pattern)))
    return next(
        (
            (path.parent if path.name == "config.json" else path).relative_to(folder).as_posix()
            for path in found
        ),
        "",
    )


def _holds(*patterns: str) -> Callable[[Path], str]:
    return lambda folder: _first(folder, *patterns)


def _part_of_modules(folder: Path) -> str:
    """Where a sentence-transformers folder has its encoder."""
    if not (folder / "modules.json").is_file():
        return ""
    try:
        parts = [str(part.get("path")) for part in json.loads((folder / "modules.json").read_text())]
    except (ValueError, AttributeError):
        parts = []
    return next((part for part in parts if part and (folder / part / "config.json").is_file()), "")


def _cached(folder: Path) -> str:
    return folder.name.removeprefix("models--").replace("--", "/") if (folder / "snapshots").is_dir() else ""


def _empty(folder: Path) -> str:
    return "" if any(folder.iterdir()) else "nothing"


_SEVERAL = "holds several checkpoints of a training; name one: encoder = {folder}/{found}"
#: In this order: how it is recognised (a word of what was found, or ""), and what is said.
_LAYOUTS: tuple[tuple[Callable[[Path], str], str], ...] = (
    (_empty, "is empty"),
    (
        _part_of_modules,
        "is a sentence-transformers folder; its encoder is a part of it: encoder = {folder}/{found}",
    ),
    (
        _holds("model_index.json"),
        "is a diffusers pipeline; name one of its parts: encoder = {folder}/text_encoder",
    ),
    (
        _holds("adapter_config.json"),
        "is a PEFT adapter alone: merge it into its base (peft: merge_and_unload) and save that",
    ),
    (_cached, "is the hub's cache of one checkpoint; write its id: encoder = {found}"),
    (_holds("models--*"), "is the hub's cache; write a checkpoint's id, as owner/name ({found} is one)"),
    (_holds("checkpoint-*/config.json"), _SEVERAL),
    (_holds("recipe.toml"), "is a run of u2a; a training begins with one by training.start_from = {folder}"),
    (
        _holds("open_clip_config.json", "open_clip_*.bin", "open_clip_*.safetensors"),
        "is an open_clip checkpoint, whose tensors have other names; " + _SAME,
    ),
    (_holds("*.gguf"), "holds GGUF weights ({found}), quantised for llama.cpp; " + _SAME),
    (_holds("*.onnx", "onnx/*.onnx"), "holds an ONNX graph ({found}), which cannot be adapted; " + _SAME),
    (
        _holds("saved_model.pb", "*.h5", "*.msgpack", "*.tflite"),
        "holds weights of another library ({found}); " + _SAME,
    ),
    (
        _holds("params.json", "consolidated.*"),
        "holds weights as their authors published them ({found}); " + _SAME,
    ),
    (
        _holds("hyperparams.yaml", "*.nemo", "config.cfg", "weights.npz"),
        "is a checkpoint of another library ({found}); " + _SAME,
    ),
    (_holds("*/config.json"), "has no config.json; a folder in it has: encoder = {folder}/{found}"),
    (
        _holds("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt"),
        "has weights ({found}) and no config.json, which says of what: copy it from the original checkpoint",
    ),
    (
        _holds("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer_config.json", "*.model"),
        "holds a tokenizer alone ({found}), no config.json and no weights; use a whole copy of the checkpoint",
    ),
    (
        _holds("preprocessor_config.json", "processor_config.json"),
        "holds a processor alone ({found}), no config.json and no weights; use a whole copy of the checkpoint",
    ),
)
