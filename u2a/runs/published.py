"""Runs on the hub (``hf://owner/name``, ``hf://owner/name@revision``), as ``u2a push`` puts them there.

A repository is whatever its owner makes it. So a few files are asked for by name, none of which is code; what
they need is said before the rest is fetched; and what they say is held against the weights that are here.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from u2a.common.distributions import installed_version
from u2a.errors import CheckpointError, U2AError
from u2a.runs.owners import recorded

SCHEME = "hf://"
#: Says that a folder is of the hub, and which base weights it needs.
MARK = "u2a.json"
FORMAT = 1
SMALL = ("recipe.toml", "versions.json", MARK, "checkpoints/BEST", "checkpoints/LAST")
CHECKPOINT = ("manifest.json", "adapter.json", "adapter.safetensors")
_PART = r"[A-Za-z0-9][\w.-]*"
_ADDRESS = re.compile(rf"({_PART}/{_PART})(?:@([\w./-]+))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[\w.+!-]+")


def is_published(value: object) -> bool:
    """Whether a run's name is an address on the hub."""
    return isinstance(value, str) and value.startswith(SCHEME)


def meant(run: str | Path | None) -> str | Path | None:
    """``owner/name`` as an address on the hub, unless a folder here is meant."""
    if isinstance(run, str) and _ADDRESS.fullmatch(run):
        place = Path(run.partition("@")[0])
        if not place.exists() and not place.parent.is_dir():
            return SCHEME + run
    return run


def parsed(address: str) -> tuple[str, str | None]:
    """Repository and revision of an address.

    Raises:
        U2AError: it is none.
    """
    found = _ADDRESS.fullmatch(address.removeprefix(SCHEME))
    if not found:
        raise U2AError(
            f"{address}: an address on the hub is {SCHEME}owner/name, or {SCHEME}owner/name@revision"
        )
    return found[1], found[2]


def fetch(address: str) -> Path:
    """Bring a run to the hub's cache, or find it there; its folder.

    Raises:
        U2AError: it cannot be read; a plugin is not installed (names the command); it is no run of u2a.
    """
    repository, revision = parsed(address)
    folder = _snapshot(address, repository, revision, SMALL)
    _check_mark(address, folder)
    _check_recipe(address, folder)
    _check_plugins(address, folder)
    names = [_pointer(address, folder, pointer) for pointer in ("BEST", "LAST")]
    wanted = [f"checkpoints/{name}/{file}" for name in dict.fromkeys(names) for file in CHECKPOINT]
    _snapshot(address, repository, folder.name, [*SMALL, *wanted])  # of that very commit
    for file in wanted:
        if not (folder / file).is_file():
            raise CheckpointError(f"{address}: has no {file}; u2a reads weights from safetensors alone")
    return folder


def check_bases(folder: Path, sets: Sequence[str]) -> None:
    """Ask for base weights that lie on no hub, where an override does not say where they are.

    Raises:
        U2AError: names the modality, the weights and the override.
    """
    if not (folder / MARK).is_file():
        return
    given = {one.partition("=")[0].strip() for one in sets}
    for name, base in _mark(str(folder), folder)["bases"].items():
        if base.get("local") and f"modalities.{name}.encoder" not in given:
            raise U2AError(
                f"modality {name!r} was trained on weights that are on no hub ({base.get('id')}, sha256 "
                f"{str(base.get('sha256'))[:12]}): say where they are with the override "
                f"modalities.{name}.encoder=./FOLDER (--set, or sets= in Python)"
            )


def _snapshot(address: str, repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # network, hub and validation errors share no base class
        kind = type(error).__name__
        why = {
            "RepositoryNotFoundError": "there is no such repository, or it is private: hf auth login",
            "GatedRepoError": "its owner gives access on request: hf auth login",
            "RevisionNotFoundError": f"it has no revision {revision}",
        }.get(kind, f"the hub cannot be reached ({kind}), and its cache has no whole copy")
        raise U2AError(f"{address}: {why}") from None


def _mark(address: str, folder: Path) -> dict[str, Any]:
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        if mark["format"] != FORMAT:
            raise CheckpointError(f"{address}: is of format {mark['format']}; this u2a reads format {FORMAT}")
        if not all(isinstance(base, dict) for base in mark["bases"].values()):
            raise TypeError("bases")
        return mark  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{address}: is no run that u2a push put there (no {MARK} that can be read)"
        ) from None


def _check_mark(address: str, folder: Path) -> None:
    _mark(address, folder)


def _check_recipe(address: str, folder: Path) -> None:
    """Nothing in a stranger's recipe may point to a file of this machine, or elsewhere."""
    try:
        document = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{address}: its recipe.toml cannot be read: {error}") from None
    for section in ("data", "modalities", "model", "training"):
        for key, value in _strings(document.get(section, {}), section):
            parts = re.split(r"[\\/]", value)
            if value.startswith(("/", "~", "\\")) or ".." in parts or "://" in value:
                raise CheckpointError(f"{address}: recipe.toml: {key} = {value!r} points out of the repository")


def _strings(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _strings(item, f"{key}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)


def _check_plugins(address: str, folder: Path) -> None:
    missing: dict[str, list[str]] = {}
    for name, owner in recorded(folder).items():
        if not name.startswith("logger:") and installed_version(owner.distribution) is None:
            missing.setdefault(f"{owner.distribution}=={owner.version}", []).append(name)
    for wanted, names in missing.items():
        distribution, _, version = wanted.partition("==")
        needs = f"{address}: {', '.join(sorted(names))} needs"
        if distribution.endswith(".py"):
            raise U2AError(
                f"{needs} the plugin file {distribution}, which does not come with it; ask its owner"
            )
        if not _NAME.fullmatch(distribution) or not _VERSION.fullmatch(version):
            raise CheckpointError(f"{needs} {wanted!r}, which is no name of a package")
        raise U2AError(
            f"{needs} {distribution} {version}, which is not installed; u2a installs nothing by itself. If you "
            f"trust it: pip install {wanted}"
        )


def _pointer(address: str, folder: Path, name: str) -> str:
    try:
        found = (folder / "checkpoints" / name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise CheckpointError(f"{address}: has no checkpoints/{name}") from None
    if not re.fullmatch(r"step-\d+(-[0-9a-f]{8})?", found):
        raise CheckpointError(f"{address}: checkpoints/{name} names {found!r}, which is no checkpoint")
    return found
