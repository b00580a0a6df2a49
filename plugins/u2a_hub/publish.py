"""What of a run goes to the hub, and how it gets there."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from u2a.common.files import sha256_file, write_json, write_text
from u2a.encoders.files import encoder_folder
from u2a.errors import U2AError, one_line
from u2a.evaluation.scoring import Scenario
from u2a.evaluation.trained import Model, load
from u2a.runs.checkpoint import FORMAT as CHECKPOINT_FORMAT
from u2a.runs.checkpoint import current
from u2a.runs.published import CHECKPOINT, FORMAT, MARK, parsed
from u2a_hub.card import card

#: Of the recipe's training section: what is of this machine, or of this person's accounts.
_OF_HERE = ("device", "loggers")


def publish(
    run: str,
    repository: str,
    *,
    private: bool,
    split: str | None,
    bases: Sequence[str],
    checkpoint: str,
    folder: Path | None,
    sets: Sequence[str],
) -> str:
    """Push a run, or write what would be pushed.

    Returns:
        What to tell.

    Raises:
        U2AError: the address or a base is none, the split cannot be scored, the hub refuses.
    """
    name, revision = parsed(repository)
    if revision:
        raise U2AError(f"{repository}: push to OWNER/NAME; the hub makes revisions by itself")
    named = dict(_base(one) for one in bases)
    model = load(run, checkpoint=checkpoint, sets=sets)
    if unknown := named.keys() - set(model.network.names):
        raise U2AError(
            f"--base {min(unknown)}: no such modality; this run has {', '.join(model.network.names)}"
        )
    scenarios = model.sweep(split) if split else []
    if folder is not None:
        if folder.exists():
            raise U2AError(f"{folder} is there already; name a new folder")
        write_repository(model, checkpoint, named, name, scenarios, split, folder)
        return f"wrote {folder}; nothing was pushed"
    with tempfile.TemporaryDirectory(prefix="u2a-push-") as made:
        local = write_repository(model, checkpoint, named, name, scenarios, split, Path(made) / "run")
        commit = _upload(name, Path(made) / "run", private, str(model.run))
    lines = [f"pushed {model.run} to {name} ({commit}); load it with u2a.load({name!r})"]
    lines += [
        f"note: modality {modality!r} was trained on {base}, a folder of this machine: others must say where "
        f"they have it; if it is on the hub: --base {modality}=OWNER/NAME"
        for modality, base in local.items()
    ]
    return "\n".join(lines)


def _base(one: str) -> tuple[str, tuple[str, str | None]]:
    modality, equals, address = one.partition("=")
    if not equals:
        raise U2AError(f"--base {one}: expected MODALITY=OWNER/NAME[@REVISION]")
    return modality, parsed(address)


def write_repository(
    model: Model,
    checkpoint: str,
    named: Mapping[str, tuple[str, str | None]],
    repository: str,
    scenarios: Sequence[Scenario],
    split: str | None,
    folder: Path,
) -> dict[str, str]:
    """Everything that is pushed, in a folder.

    Returns:
        Modalities whose base weights are a folder of this machine, with its name.
    """
    source = current(model.run.checkpoints, checkpoint.upper())
    target = folder / "checkpoints" / source.name
    target.mkdir(parents=True)
    meta = json.loads((source / "adapter.json").read_text(encoding="utf-8"))
    bases = {
        name: _public_base(model, name, meta["modalities"][name]["base"], named) for name in model.network.names
    }
    for name, base in bases.items():
        kept = {key: value for key, value in base.items() if key != "local"}
        meta["modalities"][name]["base"] = kept
    meta.pop("left_out", None)  # names samples
    shutil.copyfile(source / "adapter.safetensors", target / "adapter.safetensors")
    write_json(target / "adapter.json", meta)
    files = {file: sha256_file(target / file) for file in CHECKPOINT if file != "manifest.json"}
    write_json(target / "manifest.json", {"format": CHECKPOINT_FORMAT, "files": files})
    for pointer in ("BEST", "LAST"):
        write_text(folder / "checkpoints" / pointer, source.name + "\n")
    write_text(folder / "recipe.toml", tomli_w.dumps(_recipe(model, bases), multiline_strings=False))
    versions = json.loads((model.run.folder / "versions.json").read_text(encoding="utf-8"))
    kept = {key: versions[key] for key in ("libraries", "plugins") if key in versions}
    write_json(folder / "versions.json", kept)
    write_json(folder / MARK, {"format": FORMAT, "bases": bases})
    write_text(
        folder / "README.md", card(model, meta, bases, versions["plugins"], repository, scenarios, split)
    )
    return {name: base["id"] for name, base in bases.items() if base.get("local")}


def _public_base(
    model: Model, name: str, base: Mapping[str, Any], named: Mapping[str, tuple[str, str | None]]
) -> dict[str, Any]:
    """Which weights, as anybody can find them."""
    encoder = getattr(model.recipe.modalities[name], "encoder", None)
    if name in named:
        repository, revision = named[name]
        return {**base, "id": repository, "revision": revision}
    if isinstance(encoder, str) and not encoder.startswith("u2a:") and encoder_folder(encoder) is not None:
        return {**base, "id": Path(encoder).name, "local": True}
    return dict(base)


def _recipe(model: Model, bases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The run's recipe without what is of this machine."""
    document = model.recipe.resolved()
    document["data"] = {"shards": "shards"}
    for key in _OF_HERE:
        document.get("training", {}).pop(key, None)
    for name, section in document["modalities"].items():
        base = bases[name]
        if base.get("local"):
            section["encoder"] = f"./{base['id']}"
        elif isinstance(section.get("encoder"), str) and not section["encoder"].startswith("u2a:"):
            section["encoder"] = base["id"]
            if base.get("revision"):
                section["revision"] = base["revision"]
        for key, value in section.items():
            if isinstance(value, str) and value.startswith(("/", "~")):
                raise U2AError(
                    f"modalities.{name}.{key} is a path of this machine, {value}; nobody else has it"
                )
    return document


def _upload(name: str, folder: Path, private: bool, run: str) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            commit_message=f"u2a push {Path(run).name}",
            delete_patterns=["checkpoints/*"],  # those of an earlier push
        )
    except Exception as error:  # network, hub and validation errors share no base class
        status = getattr(getattr(error, "response", None), "status_code", None)
        if type(error).__name__ == "LocalTokenNotFoundError" or status in (401, 403):
            raise U2AError(
                f"{name}: the hub does not let you write there: hf auth login, with a token that may"
            ) from None
        raise U2AError(f"{name}: cannot be pushed: {one_line(error, 300).strip()}") from None
    return re.sub(r".*/commit/", "", str(getattr(done, "commit_url", done)))[:12]
