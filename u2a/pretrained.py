"""Reading transformers checkpoints, for any plugin: a folder or a hub id, safetensors only, no remote code.

A hub id is first brought to a local folder (the hub's own cache), and only that folder is read. So what
is loaded is exactly what is hashed, and transformers cannot switch to another revision on its own.
Plugins may package the small files of well-known ids (``configs/<id with / as -->/``), so that counting
parameters and building preprocessors for them need no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from u2a.errors import CheckpointError, U2AError
from u2a.modality import ModalityOptions
from u2a.paths import EncoderId

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel

SMALL_FILES = ("*.json", "vocab.txt", "merges.txt")
WEIGHT_FILES = ("model.safetensors", "model-*-of-*.safetensors")
INDEX_FILE = "model.safetensors.index.json"


class PretrainedOptions(ModalityOptions):
    """Options of a modality whose backbone is a transformers checkpoint."""

    encoder: EncoderId = Field(description="hub id, or a folder: a value that starts with . / or ~")
    revision: str | None = Field(None, description="the hub id's branch, tag or commit; main if left out")


def is_local(options: PretrainedOptions) -> bool:
    """True if the encoder is a folder rather than a hub id (`EncoderId` made folders absolute)."""
    return os.path.isabs(options.encoder)


def config_folder(options: PretrainedOptions, packaged: Path | None = None) -> Path:
    """The folder with the checkpoint's small files: the local one, the packaged one, or the hub cache's.

    Raises:
        U2AError: the folder or hub id cannot be read; says how to get it.
    """
    if is_local(options):
        return local_folder(options)
    return _packaged_folder(options, packaged) or fetch(options, SMALL_FILES)


def weights_folder(options: PretrainedOptions) -> Path:
    """The folder with the checkpoint itself; a hub id is downloaded once into the hub's cache.

    Raises:
        U2AError: it cannot be read, or holds no safetensors; says what to do.
    """
    folder = local_folder(options) if is_local(options) else fetch(options, (*SMALL_FILES, *WEIGHT_FILES))
    weight_files(folder, options.encoder)
    return folder


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """One JSON file of a checkpoint folder.

    Raises:
        U2AError: it is absent or not a JSON object.
    """
    path = folder / name
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise U2AError(f"{folder} has no {name}: copy it from the original checkpoint") from None
    except (OSError, ValueError) as error:
        raise U2AError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise U2AError(f"{path} is not a JSON object")
    return value


def model_type(folder: Path, supported: Sequence[str], encoder: str) -> str:
    """The checkpoint's architecture, checked against what the plugin supports.

    Raises:
        U2AError: another architecture; lists the supported ones.
    """
    found = str(read_json(folder, "config.json").get("model_type"))
    if found not in supported:
        raise U2AError(f"encoder {encoder} is a {found!r} model; supported here: {', '.join(supported)}")
    return found


def transformers_class(name: str) -> type[PreTrainedModel]:
    """A class of transformers by name.

    Its module is imported with tensors on the CPU even where the caller builds on another device: some
    modules behind it make constants on import, and these must not become meta tensors for good.
    """
    import torch
    import transformers

    with torch.device("cpu"):
        return getattr(transformers, name)


def load_config(model_class: type[PreTrainedModel], folder: Path) -> PreTrainedConfig:
    """The architecture's configuration in ``folder``; of a composite (CLIP) the part of ``model_class``.

    Raises:
        U2AError: the file does not fit the architecture.
    """
    read_json(folder, "config.json")
    config_class: Any = model_class.config_class
    try:
        with quiet():
            return config_class.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers validates with errors of many kinds
        raise U2AError(f"{folder / 'config.json'} cannot be used: {_one_line(error)}") from None


def load_backbone(
    model_class: type[PreTrainedModel],
    options: PretrainedOptions,
    *,
    weights: bool,
    packaged: Path | None = None,
    unused: Sequence[str] = (),
    **init: Any,
) -> nn.Module:
    """Build one backbone in float32 with scaled-dot-product attention, and read its weights.

    Args:
        model_class: the headless transformers class.
        options: encoder and revision.
        weights: False = build from the configuration only, e.g. under ``torch.device("meta")``.
        packaged: the plugin's folder of packaged configurations, used when no weights are read.
        unused: prefixes of parameters that the plugin's forward pass does not use; they may be missing.
        init: further arguments of the class, e.g. ``add_pooling_layer=False``.

    Returns:
        The module, with ``u2a_base`` (id, revision, sha256 of the weights; None without weights) and
        ``u2a_ignored`` (names of checkpoint tensors that belong to other heads).

    Raises:
        CheckpointError: the checkpoint lacks a weight that the forward pass uses, or shapes differ.
        U2AError: it cannot be found or read.
    """
    folder = weights_folder(options) if weights else config_folder(options, packaged)
    config = load_config(model_class, folder)
    if getattr(config, "is_decoder", False):
        raise U2AError(f"encoder {options.encoder} is configured as a decoder; an encoder is needed")
    module: Any
    if weights:
        module, ignored = _read(model_class, config, folder, options, unused, init)
    else:
        config._attn_implementation = "sdpa"
        module, ignored = model_class(config, **init), []
    module.u2a_base = _identity(folder, options) if weights else None
    module.u2a_ignored = ignored
    return module


def weight_files(folder: Path, encoder: str) -> list[Path]:
    """The safetensors files of a checkpoint, in the order of its index.

    Raises:
        U2AError: there are none, or one that the index names is absent.
    """
    single, index = folder / "model.safetensors", folder / INDEX_FILE
    if single.is_file():
        return [single]
    if not index.is_file():
        raise U2AError(
            f"encoder {encoder} has no model.safetensors (looked in {folder}); if it has pytorch_model.bin "
            f"instead, convert it once: u2a encoder convert {encoder} DIR, then set encoder = DIR"
        )
    names = sorted(set(read_json(folder, INDEX_FILE).get("weight_map", {}).values()))
    files = [folder / name for name in names if isinstance(name, str) and Path(name).name == name]
    if len(files) != len(names) or not files or not all(f.is_file() for f in files):
        raise U2AError(f"{index} names weight files that are not in the folder: download it again")
    return files


def sha256_of(files: Sequence[Path]) -> str:
    """Hex SHA-256 of the files' bytes, one after another."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No transformers log lines or progress bars inside; the caller's settings come back afterwards."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _read(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    folder: Path,
    options: PretrainedOptions,
    unused: Sequence[str],
    init: dict[str, Any],
) -> tuple[nn.Module, list[str]]:
    import torch

    loader: Any = model_class
    try:
        with quiet():
            module, info = loader.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,  # the default keeps a half-precision file in half precision
                use_safetensors=True,
                attn_implementation="sdpa",
                output_loading_info=True,
                trust_remote_code=False,
                **init,
            )
    except Exception as error:  # safetensors, shape and key errors come in many classes
        raise CheckpointError(f"encoder {options.encoder} cannot be loaded: {_one_line(error)}") from None
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(tuple(unused)))
    if missing:
        raise CheckpointError(
            f"encoder {options.encoder} lacks {len(missing)} weights that the model needs, "
            f"e.g. {', '.join(missing[:3])}: is it a complete {model_class.__name__} checkpoint?"
        )
    return module, sorted(info["unexpected_keys"])


def _identity(folder: Path, options: PretrainedOptions) -> dict[str, str | None]:
    files = weight_files(folder, options.encoder)
    # The hub's cache names a snapshot's folder after its commit.
    revision = options.revision if is_local(options) else folder.name
    return {"id": options.encoder, "revision": revision, "sha256": sha256_of(files)}


def local_folder(options: PretrainedOptions) -> Path:
    """The encoder's folder, which must exist."""
    folder = Path(options.encoder)
    if not folder.is_dir():
        raise U2AError(f"encoder {options.encoder} is not a folder: check the path, or give a hub id")
    return folder


def _packaged_folder(options: PretrainedOptions, packaged: Path | None) -> Path | None:
    if packaged is None:
        return None
    name = options.encoder.replace("/", "--")
    # An id without an owner is the hub's old spelling of an id that has one.
    matches = [packaged / name] if "/" in options.encoder else sorted(packaged.glob(f"*--{name}"))
    return next((folder for folder in matches if folder.is_dir()), None)


def fetch(options: PretrainedOptions, patterns: Sequence[str]) -> Path:
    """Bring the files of a hub id to the hub's cache (or find them there); the snapshot's folder.

    Raises:
        U2AError: not there, or no network; says how to get them.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    # A bar for the large files only.
    bars = contextlib.nullcontext() if patterns is not SMALL_FILES else disable_progress_bars()
    try:
        with bars:
            folder = snapshot_download(
                options.encoder, revision=options.revision, allow_patterns=list(patterns)
            )
        return Path(folder)
    except Exception as error:  # network, hub and validation errors share no base class
        raise U2AError(
            f"encoder {options.encoder} cannot be read from the hub ({type(error).__name__}); where there is "
            f"network run: hf download {options.encoder} --local-dir DIR, then set encoder = DIR"
        ) from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
