"""The frozen encoders' tokens of a run's splits, as baselines read them."""

from __future__ import annotations

import numpy as np
import torch

from u2a.common.seeds import stable_seed
from u2a.data.feeding.held_out import held_out
from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split, split_names
from u2a.evaluation.baselines import Features
from u2a.evaluation.encoding import encode_columns
from u2a.evaluation.tokens import token_columns
from u2a.evaluation.trained import Model
from u2a.method.model import U2A
from u2a.plugins.loading import registry
from u2a.runs.build import build_model

#: Training samples that baselines are fitted on, at most; beyond, a seeded part.
MOST = 20_000
#: Share of the training samples that strengths are chosen on where there is no validation data.
HELD_SHARE = 0.2


def frozen_features(model: Model, split: str) -> tuple[Features, Features, Features]:
    """Tokens to fit on, to choose strengths on (the run's validation data, if it has any), and to score."""
    frozen = build_model(model.recipe, registry()).to(model.place.device).eval()
    train, fit_places, choice = _sides(model)
    fitted = _read(frozen, model, train, fit_places)
    chosen_on = _read(frozen, model, *choice)
    scored = chosen_on if split == "val" else _read(frozen, model, evaluation_split(model.recipe, split), None)
    return fitted, chosen_on, scored


def _sides(model: Model) -> tuple[Split, np.ndarray, tuple[Split, np.ndarray | None]]:
    """The training split, which of it to fit on, and the samples that choices are made on."""
    recipe = model.recipe
    train = evaluation_split(recipe, "train")
    held_N, _ = held_out(train, recipe)
    draw = np.random.default_rng(stable_seed("baselines", recipe.seed))
    if "val" in split_names(recipe.data.shards) and not held_N.any():
        validation: tuple[Split, np.ndarray | None] = evaluation_split(recipe, "val"), None
    else:
        if not held_N.any():
            held_N[draw.permutation(len(train))[: max(1, round(HELD_SHARE * len(train)))]] = True
        validation = train, np.flatnonzero(held_N)
    return train, np.sort(draw.permutation(np.flatnonzero(~held_N))[:MOST]), validation


def _read(frozen: U2A, model: Model, split: Split, places: np.ndarray | None) -> Features:
    recipe = model.recipe
    columns = encode_columns(
        frozen,
        split,
        model.preprocessors,
        recipe.task,
        model.place,
        token_columns,
        places=places,
        workers=recipe.data.workers or 0,
    )
    *tokens, present_NM, target, _ = (column.cpu() for column in columns)
    M = len(frozen.names)
    read_NF = [torch.cat([tokens[3 * m], tokens[3 * m + 1]], 1).double().numpy() for m in range(M)]
    return Features(tuple(read_NF), present_NM.numpy(), target.numpy())
