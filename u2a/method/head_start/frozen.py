"""What the frozen encoders made of a set of samples, and what the fits have in common.

Shape suffixes: see `u2a.method.head_start`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

from u2a.method.read_out import ReadOuts, ReadTokens

#: Worse than the best so far by this factor: stop walking down a path.
PATIENCE = 1.02
#: Share of the training samples that choices are made on where there is no validation data.
HELD_SHARE = 0.2
#: Fewer validation samples than these pick at random: a larger part of the training samples chooses better.
FEWEST = 30
#: What a smaller share of the training samples has does not take a choice that all share from validation.
RARE = 0.05


class Side(Protocol):
    """A set of samples as fits read it: `FrozenTokens`, and what baselines do."""

    @property
    def present_NM(self) -> Any: ...  # noqa: N802

    @property
    def target(self) -> Any: ...

    def teachable(self, train: Self) -> Self: ...

    def rows(self, chosen_N: Tensor) -> Self: ...


S = TypeVar("S", bound=Side)


@dataclass(frozen=True)
class FrozenTokens:
    """What the frozen encoders made of a set of samples; places of absent modalities hold anything.

    Attributes:
        tokens: one `ReadTokens` a modality, N rows each.
        present_NM: bool.
        target: ``[N]`` long or ``[N, C]`` float.
        class_weights: as `u2a.method.losses.task_losses` takes them.
    """

    tokens: tuple[ReadTokens, ...]
    present_NM: Tensor
    target: Tensor
    class_weights: Tensor | None = None

    def teachable(self, train: FrozenTokens) -> FrozenTokens:
        """As validation of what is fitted on `train`: see `teachable`."""
        rows_N, target = teachable(self.target, train.target)
        return replace(self, target=target).rows(rows_N)

    def rows(self, chosen_N: Tensor) -> FrozenTokens:
        """The chosen samples only (bool or places)."""
        chosen_N = chosen_N.to(self.target.device)
        tokens = tuple(ReadTokens(*(part[chosen_N] for part in one)) for one in self.tokens)
        return replace(self, tokens=tokens, present_NM=self.present_NM[chosen_N], target=self.target[chosen_N])


def teachable(judged: Tensor, taught: Tensor) -> tuple[Tensor, Tensor]:
    """Validation targets without what training says nothing of: its loss only grows, whatever is fitted.

    Args:
        judged, taught: targets of validation and training, ``[N]`` class numbers or ``[N, C]`` of 0 and 1.

    Returns:
        Which validation samples count (bool): not those of a class that training lacks. And their targets,
        where a label that is the same in all training samples is that.
    """
    if taught.ndim == 1:
        return torch.isin(judged, taught), judged
    same_C = (taught == taught[:1]).all(0) & (len(taught) > 0)
    return torch.ones_like(judged[:, 0], dtype=torch.bool), torch.where(same_C, taught.sum(0).sign(), judged)


def too_few(validation: int, train: int) -> bool:
    """Whether so many validation samples choose worse than a part of so many training samples."""
    return validation < FEWEST and validation < HELD_SHARE * train


def for_choices(train: S, validation: S | None, seed: int) -> tuple[S, S]:
    """What is fitted for a choice, and what judges it: validation, or where that is too few, see `divided`.

    In the second case nothing of the first is `train` itself: what was chosen is fitted again on all of it.
    """
    judged = validation and validation.teachable(train)
    if judged is None or too_few(len(judged.target), len(train.target)):
        return divided(train, seed)
    return train, judged


def for_joint_choices(train: S, validation: S | None, seed: int) -> tuple[S, S]:
    """`for_choices` that all modalities share: `divided` too where validation lacks one of them."""
    fit_on, judged = for_choices(train, validation, seed)
    return divided(train, seed) if fit_on is train and hardly_judged(train, judged) else (fit_on, judged)


def hardly_judged(train: S, validation: S) -> list[tuple[int, ...]]:
    """Modalities, and pairs of the others, that too few validation samples have.

    Not those that hardly any training sample has: they are a small part of what is fitted.
    """
    M, N = train.present_NM.shape[1], len(train.target)
    found: list[tuple[int, ...]] = []
    for group in [*combinations(range(M), 1), *combinations(range(M), 2)]:
        judged, taught = (int(side.present_NM[:, group].all(1).sum()) for side in (validation, train))
        among = any(set(one) <= set(group) for one in found)
        if not among and taught > RARE * N and too_few(judged, taught):
            found.append(group)
    return found


def divided(train: S, seed: int) -> tuple[S, S]:
    """What is fitted on, and the part that choices are made on; of one sample alone, both are it."""
    held_N = torch.zeros(len(train.target), dtype=torch.bool)
    if len(held_N) < 2:
        return train.rows(~held_N), train
    order = torch.randperm(len(held_N), generator=torch.Generator().manual_seed(seed))
    held_N[order[: max(1, round(HELD_SHARE * len(held_N)))]] = True
    fit_on, held = train.rows(~held_N), train.rows(held_N)
    judged = held.teachable(fit_on)
    return fit_on, judged if len(judged.target) else held


def own_read_out(read_outs: ReadOuts, m: int, side: FrozenTokens) -> Tensor:
    return read_outs.own(m, side.tokens[m])


def statistics(x_NF: Tensor, used_F: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and 1 / deviation; 0 for dimensions that do not vary (relative to the others) or are not used."""
    if not len(x_NF):
        return x_NF.new_zeros(x_NF.shape[1]), x_NF.new_zeros(x_NF.shape[1])
    deviation_F = x_NF.double().std(0, unbiased=False)
    floor = 1e-5 * deviation_F.square().mean().sqrt()
    varies_F = deviation_F > floor
    if used_F is not None:
        varies_F = varies_F & used_F
    scale_F = torch.where(varies_F, 1 / deviation_F.clamp(min=torch.finfo(torch.float64).tiny), 0)
    return x_NF.double().mean(0).to(x_NF.dtype), scale_F.to(x_NF.dtype)


def minimise(parameters: Sequence[Tensor], loss: Callable[[], Tensor], steps: int = 60) -> None:
    """L-BFGS with strong Wolfe line search, in place; ends where it no longer moves."""
    stretch_of(parameters, loss, steps)()


def stretch_of(parameters: Sequence[Tensor], loss: Callable[[], Tensor], steps: int) -> Callable[[], float]:
    """`minimise` in stretches: each call takes at most `steps` more; returns the loss that it began with."""
    optimizer = torch.optim.LBFGS(
        list(parameters), max_iter=steps, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-8
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    return lambda: float(optimizer.step(closure).detach())
