"""The whole data set of the quickstart in one folder: files, manifest and shards, complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from u2a.common.files import put_folder
from u2a.errors import U2AError
from u2a.recipe.file import load_recipe
from u2a.recipe.shipped import shipped_recipes
from u2a_quickstart.generate import SIZES, VERSION, generate

#: Written into a complete folder; says what it holds.
MARKER = "quickstart.json"
FILES = "files"


def prepare(out: Path, seed: int = 0, sizes: Mapping[str, int] = SIZES) -> bool:
    """Make ``out``: the shards, and in ``files/`` what they were packed from. A complete folder stays as it is.

    The work is done in a folder beside ``out`` that takes its place at the end, so that an interrupted run
    leaves nothing that looks complete; the next one starts again.

    Returns:
        True if the data was made, False if it was there.

    Raises:
        U2AError: ``out`` holds something else; it is left alone.
    """
    out = Path(os.path.realpath(out))
    wanted = {"version": VERSION, "seed": seed, "sizes": dict(sizes)}
    if _found(out) == wanted:
        return False
    _check_ours(out)
    work = out.with_name(f".{out.name}.making")
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    try:
        made = _make(work, wanted)
        shutil.rmtree(put_folder(made, out), ignore_errors=True)
    except OSError as error:
        raise U2AError(f"{error.filename or out}: {error.strerror or error}; {out} was not made") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True


def _make(work: Path, wanted: Mapping[str, Any]) -> Path:
    """The complete folder, inside ``work``."""
    from u2a.data.packing.pack import pack_manifest

    manifest = generate(work / FILES, wanted["seed"], wanted["sizes"])
    made = work / "made"
    pack_manifest(load_recipe(shipped_recipes()["quickstart"]), manifest, made)
    os.rename(work / FILES, made / FILES)
    (made / MARKER).write_text(json.dumps(wanted) + "\n", encoding="utf-8")
    return made


def _found(out: Path) -> object:
    """What the marker in ``out`` says, None without one that can be read."""
    try:
        return json.loads((out / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _check_ours(out: Path) -> None:
    """Only a new or empty folder, or an older quickstart, may be replaced."""
    if out.exists() and not (out / MARKER).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise U2AError(f"{out} holds something else than the quickstart; give another folder with --out")
