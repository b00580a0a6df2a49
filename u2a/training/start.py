"""Beginning a training, or going on with one: from a recipe to a finished run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from u2a.common.distributed import World, world
from u2a.common.terminal import out
from u2a.contract.engines import Report
from u2a.contract.paths import is_url
from u2a.errors import ShardError, U2AError
from u2a.evaluation.trained import Model, load
from u2a.recipe.file import as_recipe, load_recipe
from u2a.recipe.sections import Recipe
from u2a.runs.folder import Run, find_run, latest_run, new_run
from u2a.runs.moves import record_epochs, record_move, without_machine
from u2a.runs.owners import check_owners, owners_of
from u2a.training.agreement import flat, hold_together, told_by_first
from u2a.training.lock import training_in
from u2a.training.trainer import Trainer


def train_command(source: str, sets: Sequence[str], folder: str | None, resume: bool) -> Run | None:
    """``u2a train``; returns the run, or None where nothing was left to train."""
    run, trained = train_recipe(*what_to_train(source, sets, folder, resume), resume)
    return run if trained else None


def what_to_train(
    source: str, sets: Sequence[str], folder: str | None, resume: bool
) -> tuple[Recipe, str | None]:
    """The recipe, and where it is trained if that is said: `source` is a recipe file, or a run to go on with.

    Raises:
        U2AError: a run without `resume`; a recipe that cannot be used.
    """
    if not (is_url(source) or Path(source).is_dir()):
        return load_recipe(source, sets), folder
    if not resume:
        raise U2AError(f"{source} is a folder; to go on with a run: u2a train {source} --resume")
    return find_run(source).recipe(tuple(sets)), source


def train_recipe(
    recipe: Recipe, folder: str | None, resume: bool, report: Report | None = None
) -> tuple[Run, bool]:
    """Begin or go on with a run, on this process's place among all; whether anything was left to do.

    Args:
        folder: the run folder, or an address; None: the first process chooses.
        report: is told of every record, on every process.

    Raises:
        U2AError: what ``u2a train`` refuses.
        KeyboardInterrupt: a signal, or `report`, asked for a stop; the training is saved.
    """
    with world(recipe.training.device) as place, ExitStack() as held:
        run = _choose_run(recipe, folder, resume, place, held)
        return run, _train(recipe, run, place, report)


def _train(recipe: Recipe, run: Run, place: World, report: Report | None) -> bool:
    owners = {name: str(owner) for name, owner in owners_of(recipe).items()}
    keys = flat(without_machine(recipe.resolved()), "recipe value of ")
    keys["recipe value of data.on_error"] = recipe.data.on_error  # which may change from one day to the next
    hold_together({"version of u2a": version("u2a"), "set of plugins": owners, **keys}, place)
    exists, resumes, epochs = told_by_first(lambda: _look(recipe, run), place)
    if recipe.leaves_epochs_out and exists:
        recipe = recipe.with_epochs(epochs)
    trainer = Trainer(recipe, run, place, report)
    recipe = trainer.recipe
    if not exists and place.main:
        run.create(recipe)
    if resumes:
        trainer.resume()
    elif exists and place.main:
        run.forget_after(0)  # what was logged before the first checkpoint is done again
    if exists and place.main:
        record_move(run, recipe)
        record_epochs(run, recipe)
    if place.main:
        out.print(f"run {run}" + (f", from step {trainer.done} of {trainer.total}" if trainer.done else ""))
    if unfinished := not trainer.finished:
        trainer.fit()
        trainer.frozen.discard()
    told_by_first(lambda: _send(run), place)  # until the run is whole, none leaves: it may be loaded next
    if place.main:
        out.print(f"done; score it with: u2a eval {run}")
    return unfinished


def _send(run: Run) -> None:
    try:
        run.send()
    except ShardError as error:
        raise U2AError(
            f"{error}; the training is whole in {run.folder}; send it from there: u2a train {run} --resume"
        ) from None


def _look(recipe: Recipe, run: Run) -> tuple[bool, bool, int]:
    """Whether the run is there, whether it has a checkpoint to go on from, and its epochs."""
    if not run.exists:
        return False, False, 0
    check_same(recipe, run, extend=True)
    for note in check_owners(run.folder, recipe):
        out.print(note)
    return True, (run.checkpoints / "LAST").exists(), run.recipe().training.epochs


def _choose_run(recipe: Recipe, folder: str | None, resume: bool, place: World, held: ExitStack) -> Run:
    """The first process chooses, or refuses, and holds the folder; all others follow."""
    return Run(told_by_first(lambda: str(_hold_run(recipe, folder, resume, held)), place))


def place_of(recipe: Recipe, folder: str | None, resume: bool) -> Run:
    """Where a recipe is trained; a new folder is made at once.

    Raises:
        U2AError: the folder holds a run, and it was not said to go on with it.
    """
    run = Run(folder) if folder else (resume and latest_run(recipe)) or new_run(recipe)
    if run.exists and not resume:
        raise _held_already(run)
    return run


def _held_already(run: Run) -> U2AError:
    return U2AError(f"{run} holds a run already; go on with it: --resume; or name another folder")


def _hold_run(recipe: Recipe, folder: str | None, resume: bool, held: ExitStack) -> Run:
    run = place_of(recipe, folder, resume)
    held.callback(run.discard_empty)
    held.enter_context(training_in(run.folder))
    if run.elsewhere:
        run.elsewhere.fetch()
    if run.exists and not resume:  # it began while this one waited
        raise _held_already(run)
    return run


def check_same(recipe: Recipe, run: Run, *, extend: bool = False) -> None:
    """Refuse a run that was trained with another recipe; where it is computed may differ.

    A recipe that leaves its epochs out takes the run's.

    Args:
        extend: more epochs will do.

    Raises:
        U2AError: names the keys that differ.
    """
    old = run.recipe()
    if recipe.leaves_epochs_out or (extend and recipe.training.epochs > old.training.epochs):
        recipe = recipe.with_epochs(old.training.epochs)
    before, now = (without_machine(one.resolved()) for one in (old, recipe))
    if keys := list(_differing(before, now)):
        raise U2AError(f"{run}: was trained with another recipe ({', '.join(keys)} differ)")
    if list(before["modalities"]) != list(now["modalities"]):
        raise U2AError(
            f"{run}: was trained with the modalities in another order: {', '.join(before['modalities'])}"
        )


def _differing(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The keys whose values differ, those of only one of the two included."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differing(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}"


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    run: str | Path | None = None,
    resume: bool = False,
    sets: Sequence[str] = (),
) -> Model:
    """Train a recipe as ``u2a train`` does, and load the result.

    Args:
        recipe: a recipe file, a dict as TOML would give it, or a validated recipe.
        run: the run folder, or an address; ``runs/<name>-<number>`` if None.
        resume: go on with the run if there is one.
        sets: recipe overrides such as ``training.epochs=3``, for a recipe file or a dict.

    Raises:
        u2a.errors.U2AError: what ``u2a train`` refuses, or `sets` beside a `Recipe`.
    """
    loaded = as_recipe(recipe, sets)
    trained, _ = train_recipe(loaded, None if run is None else str(run), resume)
    return load(str(trained))
