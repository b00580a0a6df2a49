"""A run folder: the resolved recipe, versions, metrics and checkpoints of one training.

::

    runs/movies-001/
        recipe.toml       every value in effect; paths absolute
        versions.json     u2a, libraries, plugins, machine
        metrics.jsonl     a line a step and a line a validation, and a line a sample that was left out
        checkpoints/      step-*/ and the names LAST and BEST

At an address it lies as `u2a.runs.elsewhere` says.
"""

from __future__ import annotations

import fcntl
import json
import math
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from u2a.common.distributions import installed_version
from u2a.common.files import without_nan, write_json, write_text
from u2a.contract.paths import is_url
from u2a.errors import CheckpointError, RecipeError, U2AError
from u2a.recipe.file import dump_recipe, load_recipe
from u2a.recipe.sections import Recipe
from u2a.runs import published
from u2a.runs.elsewhere import Elsewhere
from u2a.runs.owners import lost_owners, owners_of, recorded

LIBRARIES = ("u2a", "torch", "torchvision", "torchaudio", "transformers", "peft", "safetensors", "numpy", "av")
ROOT = Path("runs")
#: The file that a training holds locked.
TRAINING = ".training"


class Run:
    """One run folder and the paths in it.

    Args:
        place: the folder, or an address (``s3://bucket/runs/x``) of which this machine has a copy.
    """

    def __init__(self, place: str | Path) -> None:
        self.elsewhere = Elsewhere(str(place)) if is_url(str(place)) else None
        self.folder = self.elsewhere.folder if self.elsewhere else Path(place)
        self.recipe_file = self.folder / "recipe.toml"
        self.metrics_file = self.folder / "metrics.jsonl"
        self.checkpoints = self.folder / "checkpoints"

    def __str__(self) -> str:
        return self.elsewhere.address if self.elsewhere else str(self.folder)

    def fetch(self) -> None:
        """Bring this machine's copy of a run at an address up to date, unless it is being trained here."""
        if self.elsewhere and not in_training(self.folder):
            self.elsewhere.fetch()

    def send(self) -> None:
        """Bring the address up to date, where the run has one."""
        if self.elsewhere:
            self.elsewhere.send()

    @property
    def exists(self) -> bool:
        """True once a training has begun here."""
        return self.recipe_file.exists()

    def recipe(self, sets: tuple[str, ...] = ()) -> Recipe:
        """The resolved recipe of the run, with overrides."""
        if not self.exists:
            raise CheckpointError(f"{self}: not a run folder (it has no recipe.toml)")
        owners = {name: owner.distribution for name, owner in recorded(self.folder).items()}
        published.check_bases(self.folder, sets)
        try:
            return load_recipe(self.recipe_file, sets, owners=owners)
        except RecipeError as error:
            raise RecipeError("\n".join([str(error), *lost_owners(self.folder)])) from None

    def create(self, recipe: Recipe) -> None:
        """Make the folder and write what is known before training."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "versions.json", versions(recipe))
        write_text(self.recipe_file, dump_recipe(recipe))

    def discard_empty(self) -> None:
        """Remove the folder if nothing was written into it."""
        with suppress(OSError):
            self.folder.rmdir()

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(without_nan(line)) + "\n")

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """The lines of one type in ``metrics.jsonl``; none where it cannot be read."""
        with suppress(OSError):
            text = self.metrics_file.read_text(encoding="utf-8")
            # Of the log of a long training, only lines that may be wanted are parsed.
            found = (_read_line(line) for line in text.splitlines() if f'"{kind}"' in line)
            return [line for line in found if line.get("type") == kind]
        return []

    def forget_after(self, step: int) -> None:
        """Drop the lines of steps that a resumed training will do again."""
        if self.metrics_file.exists():
            lines = self.metrics_file.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _read_line(line).get("step", math.inf) <= step]
            write_text(self.metrics_file, "".join(line + "\n" for line in kept))


def _read_line(line: str) -> dict[str, Any]:
    """Nothing of half a line that a crash left."""
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def new_run(recipe: Recipe, root: Path = ROOT) -> Run:
    """The next free folder ``runs/<name>-001``, ``-002``, ..., made at once: others may start as well."""
    number = max(_numbered(recipe, root), default=0) + 1
    while True:
        run = Run(root / f"{recipe.name}-{number:03d}")
        try:
            run.folder.mkdir(parents=True)
            return run
        except FileExistsError:
            if not root.is_dir():
                raise
            number += 1


def _numbered(recipe: Recipe, root: Path) -> dict[int, Path]:
    found = ((re.fullmatch(rf"{recipe.name}-(\d+)", path.name), path) for path in root.glob(f"{recipe.name}-*"))
    return {int(match[1]): path for match, path in found if match}


def find_run(folder: str | Path | None, root: Path = ROOT) -> Run:
    """The named run, here or on the hub (``hf://owner/name``), or the newest under ``runs/`` that is not being
    trained.

    Raises:
        U2AError: there is none.
    """
    if folder is not None:
        run = Run(published.fetch(str(folder)) if published.is_published(folder) else folder)
        run.fetch()
        if not run.exists:
            raise U2AError(f"{folder}: not a run folder (it has no recipe.toml)")
        return run
    runs = sorted(root.glob("*/checkpoints/LAST"), key=lambda path: path.stat().st_mtime, reverse=True)
    for found in runs:
        if not in_training(found.parents[1]):
            return Run(found.parents[1])
    if runs:
        raise U2AError(
            f"{runs[0].parents[1]} is still in training, and no other run is there; to use it, name it"
        )
    raise U2AError("no finished run under runs/; train one first: u2a train RECIPE")


def in_training(folder: Path) -> bool:
    """Whether a process is training in a run folder now, that is: holds its lock."""
    try:
        with (folder / TRAINING).open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # never locked, or a file system that knows no locks
        return False
    return False


def latest_run(recipe: Recipe, root: Path = ROOT) -> Run | None:
    """The newest run of this recipe's name, for ``--resume`` without a folder."""
    runs = {number: Run(path) for number, path in _numbered(recipe, root).items() if Run(path).exists}
    return runs[max(runs)] if runs else None


def versions(recipe: Recipe) -> dict[str, Any]:
    """Library, plugin and machine versions, for whoever wants to repeat a run."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": {name: found for name in LIBRARIES if (found := installed_version(name))},
        "plugins": {
            name: {"plugin": o.plugin, "distribution": o.distribution, "version": o.version}
            for name, o in owners_of(recipe).items()
        },
    }
