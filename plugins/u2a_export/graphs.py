"""What is exported: a graph a modality, from inputs to what it brings to the selection, and one from there on.

Shape suffixes: P present samples of one modality, F frames of a sample, B batch, M modalities in recipe order,
D width of what the selection chooses from, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from u2a.contract.modality import Example, Inputs, Preprocessor
from u2a.errors import U2AError
from u2a.method.model import U2A
from u2a.method.read_out import ReadTokens

#: The key of collated inputs that says how many rows (frames) belong to each sample.
ROWS = "rows_P"
MASK = "attention_mask"


@dataclass(frozen=True)
class Given:
    """A modality's inputs as its graph takes them.

    Attributes:
        tensors: by name, of a few samples.
        frames: F, where a sample is several rows; its tensors are ``[P, F, ...]``. 0 = one row each.
        free: dimensions of each tensor that may have another size: the batch, and lengths.
    """

    tensors: dict[str, Tensor]
    frames: int
    free: dict[str, tuple[int, ...]]


def given(name: str, preprocessor: Preprocessor, examples: Sequence[Example]) -> Given:
    """Collated examples in a graph's form.

    Raises:
        U2AError: samples have different numbers of rows, or an input is no tensor.
    """
    tensors, frames = as_given(name, preprocessor.collate(examples))
    alone = [as_given(name, preprocessor.collate([one]))[0] for one in examples]
    if MASK in tensors and any(MASK not in one for one in alone):
        series = next(key for key in alone[0] if len({one[key].shape for one in alone}) > 1)
        alone = [with_mask(one, series) for one in alone]
    return Given(tensors, frames, {key: _free(key, tensors, alone) for key in tensors})


def as_given(name: str, inputs: Inputs) -> tuple[dict[str, Tensor], int]:
    """Inputs by name, rows of a sample as a dimension of their own, and how many each has (0: no rows)."""
    if odd := [key for key, value in inputs.items() if not isinstance(value, Tensor)]:
        raise U2AError(f"{name}: its input {odd[0]} is no tensor, so that no graph can take it")
    rows = inputs.get(ROWS)
    if rows is None:
        return dict(inputs), 0
    counts = set(rows.tolist())
    if len(counts) > 1:
        raise U2AError(f"{name}: its samples have {sorted(counts)} rows; a graph takes one number of them")
    F = counts.pop()
    return {key: value.unflatten(0, (-1, F)) for key, value in inputs.items() if key != ROWS}, F


def with_mask(tensors: dict[str, Tensor], series: str) -> dict[str, Tensor]:
    """With the mask that a collate leaves out where all samples are of one length, as `PaddingCollate` does.

    Args:
        series: the input ``[P, L, ...]`` that it is of.
    """
    if MASK in tensors:
        return tensors
    return {**tensors, MASK: torch.ones(tensors[series].shape[:2], dtype=torch.long)}


def _free(key: str, tensors: Mapping[str, Tensor], alone: Sequence[Mapping[str, Tensor]]) -> tuple[int, ...]:
    shape, mask = tensors[key].shape, tensors.get(MASK)
    free = {0}
    for dim in range(1, len(shape)):
        if len({one[key].shape[dim] for one in alone}) > 1:
            free.add(dim)
    if mask is not None and mask.dim() == 2 and len(shape) > 1 and shape[1] == mask.shape[1]:
        free.add(1)  # also where all samples at hand are of one length
    return tuple(sorted(free))


class BranchGraph(nn.Module):
    """Inputs of P samples to ``cls_PD`` and ``mask_PMD``: eqs. 1 to 3, read-outs and proxies.

    Args:
        model: its adapters merged (`U2A.merge_lora`).
        m: the modality's number.
        keys: names of the inputs, in the order of `forward`'s arguments.
        frames: see `Given`.
    """

    def __init__(self, model: U2A, m: int, keys: Sequence[str], frames: int) -> None:
        super().__init__()
        self.branch: Any = model.branches[m]
        self.read_outs = model.read_outs
        self.keys, self.frames, self.m = tuple(keys), frames, m
        self._offer = model.offer

    def forward(self, *values: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        inputs: dict[str, Any] = dict(zip(self.keys, values, strict=True))
        if self.frames:
            P = values[0].shape[0]
            inputs = {key: value.flatten(0, 1) for key, value in inputs.items()}
            inputs[ROWS] = torch.full((P,), self.frames)
        _, read = self.branch.read_rows(inputs)
        if self.frames:
            read = [x.unflatten(0, (-1, self.frames)).mean(1) for x in read]
        return self._offer(self.m, ReadTokens(*(self.branch.projection(x) for x in read)))


class HeadGraph(nn.Module):
    """``cls_BMD``, ``mask_BMMD`` and ``present_BM`` (bool) to ``logits_BC``: eqs. 4 and 5.

    What stands in absent places changes nothing.
    """

    def __init__(self, model: U2A) -> None:
        super().__init__()
        self.head, self.read_outs = model.head, model.read_outs
        self._classify = model.classify

    def forward(self, cls_BMD: Tensor, mask_BMMD: Tensor, present_BM: Tensor) -> Tensor:
        """See the class."""
        return self._classify(cls_BMD, mask_BMMD, present_BM)
