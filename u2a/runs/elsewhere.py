"""Runs at an address (``s3://bucket/runs/x``): a machine works on a copy of its own, and sends what it saved.

At the address a checkpoint's folder is named by its content and never changed, and ``LAST`` is written after
all else: whatever it names is whole. It is what counts, wherever it came from, unless the copy alone went on
from it, because sending failed. Nothing at the address keeps two machines from training there at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from u2a.common import remote
from u2a.common.environment import cache_folder
from u2a.common.files import put_folder, sha256_file, write_text
from u2a.contract.paths import URL_SCHEMES
from u2a.errors import CheckpointError, ShardError, U2AError

FILES = ("recipe.toml", "versions.json", "metrics.jsonl")
POINTERS = ("BEST", "LAST")
#: What LAST at the address named when the copy was like it.
SENT = ".sent"


class Elsewhere:
    """The two places of a run at an address.

    Attributes:
        folder: this machine's copy, in the cache folder.
    """

    def __init__(self, address: str) -> None:
        scheme, _, rest = address.partition("://")
        scheme = scheme.lower()
        if scheme not in (*URL_SCHEMES, "file"):
            raise U2AError(f"{address}: {scheme}:// is not a supported address of runs; s3:// and gs:// are")
        if not rest.strip("/") or (rest.startswith("/") and scheme not in ("file", "memory")):
            raise U2AError(f"{address}: names no bucket; an address of a run is s3://BUCKET/FOLDER")
        self.address = address.rstrip("/")
        name = re.sub(r"[^\w.-]", "_", self.address.rpartition("/")[2])[:60]
        key = hashlib.sha256(self.address.encode()).hexdigest()[:12]
        self.folder = cache_folder() / "runs" / f"{name}-{key}"
        self.checkpoints = self.folder / "checkpoints"

    def fetch(self) -> None:
        """Bring the copy to where the address is, unless it went on from there.

        Raises:
            ShardError: the address cannot be read.
            CheckpointError: what lies there is no run.
        """
        with self._held():
            last = self._there("LAST")
            while last != self._sent():
                try:
                    self._take(last)
                except ShardError:
                    if last == (last := self._there("LAST")):
                        raise
                    # another machine has saved meanwhile, and removed what was being read

    def send(self) -> None:
        """Bring the address to where the copy is.

        Raises:
            ShardError: it cannot be written.
        """
        pointers = {name: text for name in POINTERS if (text := _text(self.checkpoints / name))}
        if "LAST" not in pointers:
            return
        names = {name: self._far_name(name) for name in pointers.values()}
        for name, far_name in names.items():
            self._send_checkpoint(name, far_name)
        for file in FILES:
            if (self.folder / file).exists():
                remote.upload(self.folder / file, self._at(file))
        for pointer in POINTERS:
            if pointer in pointers:
                remote.write(self._at("checkpoints", pointer), f"{names[pointers[pointer]]}\n".encode())
        for name in remote.names(self._at("checkpoints")):
            if name.startswith("step-") and name not in names.values():
                remote.remove(self._at("checkpoints", name))
        write_text(self.folder / SENT, names[pointers["LAST"]])

    def _take(self, last: str) -> None:
        if not last:  # it was removed there: what is here is of no run
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            for file in (*FILES, SENT):
                (self.folder / file).unlink(missing_ok=True)
            return
        pointers = {"BEST": self._there("BEST"), "LAST": last}
        for name in dict.fromkeys(filter(None, pointers.values())):
            self._take_checkpoint(name)
        for file in FILES:
            if (data := remote.fetch_if_there(self._at(file))) is not None:
                write_text(self.folder / file, data.decode())
        for pointer, name in pointers.items():
            if name:
                write_text(self.checkpoints / pointer, name + "\n")
        write_text(self.folder / SENT, last)

    def _take_checkpoint(self, name: str) -> None:
        at = self._at("checkpoints", name)
        if not re.fullmatch(r"step-\d+-[0-9a-f]{8}", name):
            raise CheckpointError(f"{at}: not the name of a checkpoint")
        if (self.checkpoints / name).is_dir():
            return
        manifest = remote.fetch(f"{at}/manifest.json")
        temporary = self.checkpoints / f".fetching-{secrets.token_hex(4)}"
        temporary.mkdir(parents=True)
        try:
            for file in _files(manifest, at):
                remote.download(f"{at}/{file}", temporary / file)
            (temporary / "manifest.json").write_bytes(manifest)
            put_folder(temporary, self.checkpoints / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _send_checkpoint(self, name: str, far_name: str) -> None:
        at = self._at("checkpoints", far_name)
        if remote.fetch_if_there(f"{at}/manifest.json") is not None:  # which goes last
            return
        files = (self.checkpoints / name).iterdir()
        for file in sorted(files, key=lambda file: (file.name == "manifest.json", file.name)):
            remote.upload(file, f"{at}/{file.name}")

    def _far_name(self, name: str) -> str:
        """A checkpoint's name at the address: that of its step and content."""
        if name.count("-") > 1:  # it came from there
            return name
        return f"{name}-{sha256_file(self.checkpoints / name / 'manifest.json')[:8]}"

    def _there(self, pointer: str) -> str:
        """What a pointer at the address names; nothing where there is none."""
        return (remote.fetch_if_there(self._at("checkpoints", pointer)) or b"").decode(errors="replace").strip()

    def _sent(self) -> str:
        return _text(self.folder / SENT)

    def _at(self, *parts: str) -> str:
        return "/".join((self.address, *parts))

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One process of this machine fetches at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".fetching").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _files(manifest: bytes, at: str) -> list[str]:
    try:
        names = list(json.loads(manifest)["files"])
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{at}: not a checkpoint of u2a") from None
    if not all(re.fullmatch(r"[\w-][\w.-]*", name) for name in names):
        raise CheckpointError(f"{at}: names files outside the checkpoint")
    return names
