"""The Python API: train a recipe, load a run, evaluate it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from u2a.build import build_model
from u2a.checkpoint import current, load_adapter
from u2a.distributed import World, default_workers, world
from u2a.evaluate import Encoded, Scenario, check_dropped, encode_split, evaluation_split, score_scenario
from u2a.plugins import registry
from u2a.recipe import Recipe
from u2a.run import Run, find_run


class Model:
    """A trained model with all that it needs to read files of its modalities.

    Attributes:
        recipe: the run's resolved recipe.
        network: the `u2a.model.U2A` module, in evaluation mode, on the device.
        run: the run folder it came from.
    """

    def __init__(self, run: Run, recipe: Recipe, place: World, checkpoint: str) -> None:
        plugins = registry()
        self.run, self.recipe, self.place = run, recipe, place
        folder = current(run.checkpoints, checkpoint.upper())
        self.preprocessors = {
            name: plugins.spec(options.kind).preprocessor(options)
            for name, options in recipe.modalities.items()
        }
        self.network = build_model(recipe, plugins)
        self.meta = load_adapter(folder, self.network)
        self.network.to(place.device).eval()

    def encode(self, split: str = "test") -> Encoded:
        """One pass of the encoders over a split of the recipe's data."""
        workers = self.recipe.data.workers
        return encode_split(
            self.network,
            evaluation_split(self.recipe, split),
            self.preprocessors,
            self.recipe.task,
            self.place,
            workers=default_workers(self.place) if workers is None else workers,
        )

    def evaluate(self, drop: Sequence[str] = (), split: str = "test") -> Scenario:
        """Score a split with modalities dropped, beside the complete data on the same samples."""
        check_dropped(self.network.names, drop)
        return score_scenario(self.network, self.encode(split), self.recipe.task, drop)


def load(run: str | Path | None = None, *, checkpoint: str = "best", sets: Sequence[str] = ()) -> Model:
    """Load a trained run (the newest under ``runs/`` if none is named).

    Args:
        run: a run folder.
        checkpoint: ``"best"`` or ``"last"``.
        sets: recipe overrides such as ``training.device=cpu``.

    Raises:
        u2a.errors.U2AError: no such run, a damaged checkpoint, other base weights, a missing plugin.
    """
    found = find_run(run)
    recipe = found.recipe(tuple(sets))
    with world(recipe.training.device) as place:
        return Model(found, recipe, place, checkpoint)


def evaluate_run(
    run: str | Path | None, *, drop: Sequence[str], split: str, checkpoint: str, sets: Sequence[str]
) -> tuple[Scenario, Run]:
    """`Model.evaluate` on a run, on all processes under torchrun; returns the run as well."""
    found = find_run(run)
    recipe = found.recipe(tuple(sets))
    check_dropped(tuple(recipe.modalities), drop)
    with world(recipe.training.device) as place:
        return Model(found, recipe, place, checkpoint).evaluate(drop, split), found
