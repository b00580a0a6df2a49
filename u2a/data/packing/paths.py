"""Paths in cells: files below one folder, found whichever way their accents are written."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote

from u2a.common.values import looks, looks_like_file, nfc, short, told_apart
from u2a.media.magic import known_extension

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Paths:
    """The folder of a manifest's files.

    Args:
        root: paths are relative to it, and none leaves it.
        given: the person named it, so absolute paths in it will do.
    """

    def __init__(self, root: Path, *, given: bool = False) -> None:
        self._root = os.path.realpath(root)
        self._given = given

    def find(self, modality: str, extensions: Sequence[str], value: str) -> tuple[str, Path]:
        """The extension and the place of the file that a cell names.

        Raises:
            ValueError: there is none that may be read; says why.
        """
        if _ADDRESS.match(value):
            raise ValueError(f"{short(value)} is an address; download it, and name the file")
        if "\\" in value or _DRIVE.match(value):
            better = value.replace("\\", "/")
            raise ValueError(f"{short(value)} is written with backslashes or a drive; write {short(better)}")
        endings = [e for e in extensions if value.lower().endswith(f".{e}")] or self._by_content(
            value, extensions
        )
        if not endings:
            known = ", ".join("." + e for e in extensions)
            raise ValueError(f"{short(value)} is not a file that {modality} reads: {known}")
        path = self._inside(value)
        if not os.path.isfile(path):
            path = self._other_form(value, path)
        if not os.path.getsize(path):
            raise ValueError(f"{value}: is empty; leave the cell empty if it is missing")
        return max(endings, key=len), Path(path)

    def _by_content(self, value: str, extensions: Sequence[str]) -> list[str]:
        """The extension of a file whose name has none, as caches and downloads leave them."""
        path = "" if os.path.splitext(value)[1] else self._inside(value)
        if not os.path.isfile(path):
            return []
        with open(path, "rb") as stream:
            found = known_extension(stream.read(64), extensions)
        return [found] if found else []

    def check_text(self, column: str, value: str) -> None:
        """Refuse a text that is the path of a file that there is: it would be trained on as words.

        Raises:
            ValueError: says how to name the column.
        """
        if looks_like_file(value) and os.path.isfile(os.path.join(self._root, value)):
            raise ValueError(
                f"column {column!r}: {short(value)} is a file; name the column '{column}_path' to read it"
            )

    def _inside(self, value: str) -> str:
        if "\0" in value:
            raise ValueError(f"{short(value)} must be relative to the manifest's folder")
        if os.path.isabs(value) and not self._given:
            raise ValueError(
                f"{short(value)} must be relative to the manifest's folder; --root DIR allows absolute paths "
                "below DIR"
            )
        path = _real(os.path.join(self._root, value))
        if os.path.commonpath((self._root, path)) != self._root:
            where = f"the folder {self._root} of --root" if self._given else "the manifest's folder"
            raise ValueError(f"{short(value)} leads out of {where}")
        return path

    def _other_form(self, value: str, path: str) -> str:
        """The file of that name with its accents in the other form, as archives made on a Mac have them."""
        for form in ("NFC", "NFD"):
            other = self._inside(unicodedata.normalize(form, value))
            if os.path.isfile(other):
                return other
        folder, name = os.path.split(path)
        composed, folded, seen = _names_in(folder)
        if (same := composed.get(nfc(name))) is not None and os.path.isfile(
            found := os.path.join(folder, same)
        ):
            return found
        hint = ""
        if (other_case := folded.get(nfc(name).casefold())) is not None:
            hint = f"; there is {told_apart(name, other_case)[1]}: names differ by case"
        elif (like := seen.get(looks(unquote(unescape(name))).casefold())) is not None:
            mine, other = told_apart(name, like)
            hint = f"; there is {other}" + (f", and this one is {mine}" if mine != short(name) else "")
        raise ValueError(f"{short(value)[1:-1]}: no such file{hint}")


@lru_cache(8)
def _names_in(folder: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Names of a folder by their composed form, by that without case, and by what they look like."""
    try:
        names = os.listdir(folder)
    except OSError:
        names = []
    composed = {nfc(name): name for name in names}
    folded = {key.casefold(): name for key, name in composed.items()}
    return composed, folded, {looks(name).casefold(): name for name in names}


@lru_cache(4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _real(path: str) -> str:
    """As os.path.realpath, which asks the file system about every parent every time."""
    folder, name = os.path.split(path)
    whole = os.path.join(_real_folder(folder), name)
    return os.path.realpath(whole) if os.path.islink(whole) or name in (".", "..") else whole
