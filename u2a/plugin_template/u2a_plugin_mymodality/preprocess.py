"""A series to padded tensors. T steps, F features."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from u2a.contract.modality import Example, Inputs
from u2a_plugin_mymodality.decode import decode_series


@dataclass(frozen=True)
class MyModalityPreprocessor:
    """Member bytes to ``{"values": float32 [T, F]}``; collated ``values`` [P, T, F] and ``lengths`` long [P].

    A series longer than ``longest`` steps is cut: in training at a random place, in evaluation at its end.
    """

    features: int
    longest: int

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode and cut one series.

        Raises:
            BadSample: see `u2a_plugin_mymodality.decode.decode_series`.
        """
        values_TF = torch.from_numpy(decode_series(member, self.features))
        spare = max(0, len(values_TF) - self.longest)
        start = random.Random(seed).randint(0, spare) if train else 0
        return {"values": values_TF[start : start + self.longest].clone()}

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Pad on the right."""
        series = [example["values"] for example in examples]
        lengths = torch.tensor([len(values) for values in series])
        return {"values": pad_sequence(series, batch_first=True), "lengths": lengths}
