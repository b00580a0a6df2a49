"""The frozen encoders' tokens of a run's splits, as baselines read them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from u2a.common.seeds import stable_seed
from u2a.data.feeding.held_out import held_out
from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split, split_names
from u2a.errors import U2AError
from u2a.evaluation import kept_tokens
from u2a.evaluation.baselines import Features
from u2a.evaluation.encoding import encode_columns
from u2a.evaluation.tokens import token_columns
from u2a.evaluation.trained import Model
from u2a.method.model import U2A
from u2a.recipe.sections import Recipe
from u2a.runs.build import build_model

#: Training samples that baselines are fitted on, at most; beyond, a seeded part.
MOST = 20_000

Side = tuple[Split, np.ndarray | None]


def frozen_features(model: Model, scored: Side, most: int = MOST) -> tuple[Features, Features, Features]:
    """Tokens to fit on, to choose strengths on (without validation data none), and to score.

    What the head start encoded is read from the run folder. Beyond `most` training samples, a seeded part.
    """

    @cache
    def frozen() -> U2A:  # where all tokens are kept, it is not needed
        untrained = build_model(model.recipe)
        for fresh, trained in zip(untrained.each_branch(), model.network.each_branch(), strict=True):
            if fresh.measures:  # what it was fitted to before the first step
                fresh.backbone.load_state_dict(dict(trained.backbone.named_buffers()), strict=False)
        return untrained.to(model.place.device).eval()

    train = evaluation_split(model.recipe, "train")
    choice, held_N = _validation(model.recipe, train)
    fitted, chosen_on = _kept(model, train, held_N, choice)
    draw = np.random.default_rng(stable_seed("baselines", model.recipe.seed))
    if fitted is None:
        fit_places = np.sort(draw.permutation(np.flatnonzero(~held_N))[:most])
        fitted = _read(frozen, model, (train, fit_places))
    elif len(fitted.target) > most:
        fitted = fitted.rows(np.sort(draw.permutation(len(fitted.target))[:most]))
    if choice is None:
        return fitted, fitted.rows(np.arange(0)), _read(frozen, model, scored)
    chosen_on = chosen_on or _read(frozen, model, choice)
    return fitted, chosen_on, chosen_on if _same(scored, choice) else _read(frozen, model, scored)


def _kept(
    model: Model, train: Split, held_N: np.ndarray, choice: Side | None
) -> tuple[Features | None, Features | None]:
    """What the training kept of the samples to fit on and to choose on, where that is all of them."""
    fitted = kept_tokens.kept(model.run.folder, "train", train.fingerprint)
    if fitted is not None and len(fitted.target) != (~held_N).sum():
        fitted = None
    if choice is None:
        return fitted, None
    chosen_on = kept_tokens.kept(model.run.folder, "val", choice[0].fingerprint)
    n = len(choice[0]) if choice[1] is None else len(choice[1])
    return fitted, chosen_on if chosen_on is not None and len(chosen_on.target) == n else None


def _same(one: Side, other: Side) -> bool:
    places = [np.arange(len(split)) if chosen is None else chosen for split, chosen in (one, other)]
    return one[0].fingerprint == other[0].fingerprint and np.array_equal(places[0], places[1])


def scored_side(model: Model, split: str | None) -> Side:
    """A split, or what the run is validated on: its ``val`` split, or what it held out.

    Raises:
        U2AError: no such split, or a run without validation data.
    """
    if split is not None:
        return evaluation_split(model.recipe, split), None
    choice, _ = _validation(model.recipe, evaluation_split(model.recipe, "train"))
    if choice is None:
        raise U2AError(f"{model.run.folder}: the run has no validation data; name a split")
    return choice


def _validation(recipe: Recipe, train: Split) -> tuple[Side | None, np.ndarray]:
    """The samples that choices are made on, if any, and which training samples are not fitted on for that."""
    held_N, _ = held_out(train, recipe)
    if held_N.any():
        return (train, np.flatnonzero(held_N)), held_N
    there = "val" in split_names(recipe.data.shards)
    return (evaluation_split(recipe, "val"), None) if there else None, held_N


def _read(frozen: Callable[[], U2A], model: Model, side: Side) -> Features:
    recipe, (split, places) = model.recipe, side
    columns, unreadable = encode_columns(
        frozen(),
        split,
        model.preprocessors,
        recipe.task,
        model.place,
        token_columns,
        places=places,
        workers=recipe.data.workers or 0,
        skip=recipe.data.on_error == "skip",
    )
    model.tell_unreadable(split, unreadable, len(split) if places is None else len(places))
    return kept_tokens.features_of(columns, len(model.network.names))
