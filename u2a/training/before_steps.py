"""What goes before the first step: what encoders measure, and another run's adapter or the head start (encode
once, fit on the first process, share the result).

Shape suffixes: N samples, M modalities in recipe order, B batch, P present samples, H one encoder's width, K
mask tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from torch import Tensor

from u2a.common.distributed import World, share_tensors
from u2a.common.seeds import stable_seed
from u2a.evaluation import kept_tokens
from u2a.evaluation.tokens import token_columns
from u2a.method.head_start import FrozenTokens, Summary, fit_head_start
from u2a.method.model import U2A
from u2a.method.read_out import ModalityHead, ReadOuts, ReadTokens
from u2a.recipe.sections import Recipe, TrainingSection
from u2a.runs.start_from import take_adapter
from u2a.training.agreement import share_adapter, told_by_first
from u2a.training.data import TrainingData
from u2a.training.measuring import fit_encoders

#: Tokens kept in memory for the fit; beyond it, samples are drawn.
CACHE_BYTES = 2 << 30


def starts_ahead(model: U2A, training: TrainingSection) -> bool:
    """Whether the model is worth a validation before the first step."""
    return bool(training.start_from) or (model.read_outs is not None and training.head_start)


def begin(model: U2A, data: TrainingData, recipe: Recipe, place: World, folder: Path) -> Iterator[str]:
    """Take another run's adapter or make the head start, as the recipe says; yields what is to be told."""
    fit_encoders(model, data, place)
    whole = False
    if recipe.training.start_from:
        start, classes = recipe.training.start_from, list(recipe.task.classes)
        said, whole = told_by_first(lambda: take_adapter(start, model, classes), place)
        share_adapter(model, place)
        yield said
    if model.read_outs is not None and recipe.training.head_start and not whole:
        yield from head_start(model, data, recipe, place, folder).lines()


def head_start(model: U2A, data: TrainingData, recipe: Recipe, place: World, folder: Path) -> Summary:
    """Fit what stands behind the encoders on the frozen encoders' tokens of the training samples.

    The tokens are kept in the run's folder, for baselines.
    """
    most = _most_samples(model)
    columns = data.encode_training(model, token_columns, most)
    train = _tokens(model, columns, data)
    held_out = data.encode_validation(model, token_columns, most)
    validation = None if held_out is None else _tokens(model, held_out, data)
    if place.main:
        for name, found, identity in (
            ("train", columns, data.fingerprint),
            ("val", held_out, data.validation_fingerprint),
        ):
            if found is not None and identity is not None:
                side = kept_tokens.features_of(found, len(model.names))
                kept_tokens.keep(folder, name, side, identity)
    modules = cast(ReadOuts, model.read_outs), cast(ModalityHead, model.head)
    seed = stable_seed("head start", recipe.seed)

    def fit() -> Summary:
        return fit_head_start(*modules, train, validation, read_out=recipe.model.read_out, seed=seed)

    summary = told_by_first(fit, place)
    share_tensors([*modules[0].state_dict().values(), *modules[1].state_dict().values()], place)
    return summary


def _most_samples(model: U2A) -> int:
    numbers = sum((2 + len(b.mask_tokens_KD)) * b.mask_tokens_KD.shape[1] for b in model.each_branch())
    return max(1, CACHE_BYTES // (4 * numbers))


def _tokens(model: U2A, columns: list[Tensor], data: TrainingData) -> FrozenTokens:
    *tokens, present_NM, target, _ = (column.to(model.device) for column in columns)
    parts = [ReadTokens(*tokens[3 * m : 3 * m + 3]) for m in range(len(model.names))]
    return FrozenTokens(tuple(parts), present_NM, target, data.class_weights)
