"""Where a checkpoint's files are: a local folder, a plugin's packaged small files, or the hub's cache.

A hub id is first brought to a local folder (the hub's own cache), and only that folder is read. So what
is loaded is exactly what is hashed, and transformers cannot switch to another revision on its own.
Plugins may package the small files of well-known ids (``configs/<id with / as -->/``), so that counting
parameters and building preprocessors for them need no network.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from u2a.contract.modality import ModalityOptions
from u2a.contract.paths import _absolute
from u2a.encoders.architectures import Architecture
from u2a.encoders.hub import SMALL_FILES, fetch, hub_id
from u2a.encoders.layouts import is_pointer, other_weights, pickles, what_file, what_folder
from u2a.errors import U2AError

WEIGHT_FILES = ("model.safetensors", "model-*-of-*.safetensors")
INDEX_FILE = "model.safetensors.index.json"


#: Encoders that come with u2a, and how recipes name them: ``u2a:quickstart/image``.
PACKAGED = "u2a:"
ENCODERS = Path(__file__).parent / "packaged"


def encoder_folder(value: str) -> Path | None:
    """The folder that a validated `EncoderId` names, packaged or local; None for a hub id."""
    if value.startswith(PACKAGED):
        return _packaged()[value]
    return Path(value) if os.path.isabs(value) else None


def _packaged() -> dict[str, Path]:
    """The encoders that come with u2a, by what recipes call them."""
    return {f"{PACKAGED}{p.parent.name}/{p.name}": p for p in ENCODERS.glob("*/*") if p.is_dir()}


def _encoder_id(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str) and value.startswith(PACKAGED):  # kept: a run folder outlives an installation
        known = _packaged()
        if value not in known:
            raise ValueError(f"u2a comes without an encoder {value!r}; there are: {', '.join(sorted(known))}")
        return value
    if isinstance(value, str) and (value.startswith((".", "/", "~")) or value.count("/") > 1):
        return _absolute(value, info)
    if isinstance(value, str) and _is_there(Path(_absolute(value, info))):
        return _absolute(value, info)  # a folder that is there goes before a hub id, as in transformers
    return str(value) if isinstance(value, str) else value


def _is_there(path: Path) -> bool:
    """A folder with a checkpoint, or what somebody may take for one; or a file of weights."""
    if path.is_file():
        return True
    return path.is_dir() and ((path / "config.json").is_file() or what_folder(path) not in (None, "is empty"))


EncoderId = Annotated[str, BeforeValidator(_encoder_id)]
"""A hub id such as ``bert-base-uncased``; a folder: a value that starts with ``.``, ``/`` or ``~``, has two
slashes, or names a folder that is there and looks like a checkpoint; or one that comes with u2a:
``u2a:quickstart/NAME``."""


class PretrainedOptions(ModalityOptions):
    """Options of a modality whose backbone is a transformers checkpoint."""

    #: The architectures that the modality takes, by ``model_type``.
    architectures: ClassVar[Mapping[str, Architecture]] = {}

    encoder: EncoderId = Field(description="hub id, or a checkpoint's folder (./FOLDER)")
    revision: str | None = Field(None, description="the hub id's branch, tag or commit; main if left out")

    @model_validator(mode="after")
    def _revision_fits(self) -> PretrainedOptions:
        if self.revision is not None and is_local(self):
            raise ValueError("revision is for hub ids; the encoder is a folder")
        return self


def is_local(options: PretrainedOptions) -> bool:
    """True if the encoder is a folder rather than a hub id."""
    return encoder_folder(options.encoder) is not None


def config_folder(options: PretrainedOptions, packaged: Path | None = None) -> Path:
    """The folder with the checkpoint's small files: the local one, the packaged one, or the hub cache's.

    Raises:
        U2AError: the folder or hub id cannot be read; says how to get it.
    """
    if is_local(options):
        return local_folder(options)
    return _packaged_folder(options, packaged) or fetch(options, SMALL_FILES)


def checkpoint_file(options: PretrainedOptions, name: str) -> Path:
    """One of a checkpoint's small files (JSON, ``vocab.txt``, ``merges.txt``), for a preprocessor.

    Raises:
        U2AError: the checkpoint cannot be found, or has no such file.
    """
    path = config_folder(options) / name
    if not path.is_file():
        raise U2AError(f"encoder {options.encoder} has no {name}: use a complete copy of the checkpoint")
    return path


def checkpoint_notes(options: ModalityOptions) -> list[str]:
    """What a person should know of a checkpoint that is on this machine, and that nothing else tells."""
    if not isinstance(options, PretrainedOptions) or not _holds(options, "adapter_config.json"):
        return []
    return [
        f"encoder {options.encoder} has an adapter beside its weights, which is not applied; unless they hold "
        "it already, merge it (peft: merge_and_unload) and save that"
    ]


def _holds(options: PretrainedOptions, name: str) -> bool:
    if (folder := encoder_folder(options.encoder)) is not None:
        return (folder / name).is_file()
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(options.encoder, name, revision=options.revision), str)


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
        identifier = hub_id(folder)
        if name == "config.json" and not identifier and (what := what_folder(folder)):
            raise U2AError(f"{folder} {what}") from None
        get = (
            f"download all of it: hf download {identifier}"
            if identifier
            else "copy it from the original checkpoint"
        )
        raise U2AError(f"{folder} has no {name}: {get}") from None
    except (OSError, ValueError) as error:
        raise U2AError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise U2AError(f"{path} is not a JSON object")
    return value


def weight_files(folder: Path, encoder: str) -> list[Path]:
    """The safetensors files of a checkpoint, in the order of its index.

    Raises:
        U2AError: there are none, or one that the index names is absent.
    """
    single, index = folder / "model.safetensors", folder / INDEX_FILE
    if single.is_file() and is_pointer(single):
        raise U2AError(f"{single} is a pointer that git-lfs left in place of the file; get it: git lfs pull")
    if single.is_file():
        return [single]
    if not index.is_file():
        raise U2AError(
            f"encoder {encoder} has no model.safetensors (looked in {folder}); {_no_weights(folder, encoder)}"
        )
    places = read_json(folder, INDEX_FILE).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise U2AError(f"{index} has no weight_map from tensors to files: get it again")
    names = sorted(set(places.values()))
    files = [folder / name for name in names if Path(name).name == name]
    if len(files) != len(names) or not files or not all(f.is_file() for f in files):
        again = f": hf download {hub_id(folder)}" if hub_id(folder) else ""
        raise U2AError(f"{index} names weight files that are not in the folder: download it again{again}")
    return files


def _no_weights(folder: Path, encoder: str) -> str:
    """What a folder without weights may be, and what to do."""
    convert = f"convert it once: u2a encoder convert {encoder} DIR, then set encoder = ./DIR"
    if any(folder.glob("pytorch_model*.bin")):
        return f"it has pytorch_model.bin instead, so {convert}"
    if (folder / "adapter_config.json").is_file():
        return "it holds an adapter alone: merge it into its base (peft: merge_and_unload) and save that"
    if other := other_weights(folder):
        return other
    if found := pickles(folder):
        file = "" if len(found) == 1 else f"/{found[0].name}"
        return f"it has {found[0].name} instead, so {convert.replace(f'{encoder} ', f'{encoder}{file} ', 1)}"
    if parts := sorted(path.name for path in folder.glob("*.safetensors")):
        return (
            f"it has {parts[0]}, which no index names: call it model.safetensors"
            if len(parts) == 1
            else f"it has {parts[0]} and others without {INDEX_FILE}: get that too"
        )
    if identifier := hub_id(folder):
        held = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        return (
            f"the hub's cache holds only a part of it ({held}): where there is network run: "
            f"hf download {identifier}; or, if it has pytorch_model.bin instead, {convert}"
        )
    return f"if it has pytorch_model.bin instead, {convert}"


def sha256_of(files: Sequence[Path]) -> str:
    """Hex SHA-256 of the files' bytes, one after another."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def identity_of(folder: Path, options: PretrainedOptions) -> dict[str, Any]:
    """Which weights a checkpoint's folder holds: what was asked for, the hub's commit, the files' hash."""
    revision = None if is_local(options) else folder.name  # the hub's cache names a folder after its commit
    digest = sha256_of(weight_files(folder, options.encoder))
    return {"id": options.encoder, "revision": revision, "sha256": digest}


def local_folder(options: PretrainedOptions) -> Path:
    """The encoder's folder, which must exist."""
    folder = encoder_folder(options.encoder)
    if folder is not None and folder.is_file():
        raise U2AError(f"encoder {options.encoder} {what_file(folder)}")
    if folder is None or not folder.is_dir():
        raise U2AError(
            f"encoder {options.encoder} is not a folder: check the path, or give a hub id; "
            "if it has moved: --set modalities.NAME.encoder=./DIR"
        )
    return folder


def _packaged_folder(options: PretrainedOptions, packaged: Path | None) -> Path | None:
    if packaged is None:
        return None
    name = options.encoder.replace("/", "--")
    # An id without an owner is the hub's old spelling of an id that has one.
    matches = [packaged / name] if "/" in options.encoder else sorted(packaged.glob(f"*--{name}"))
    return next((folder for folder in matches if folder.is_dir()), None)
