"""Examples of tensors to padded inputs, for preprocessors that need nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from u2a.contract.modality import Example, Inputs
from u2a.errors import PluginError


class PaddingCollate:
    """A preprocessor's ``collate``: inherit it, and write ``__call__`` alone.

    Every example holds the same names with tensors. Those of one shape are stacked. Series, ``[L]`` or
    ``[L, F]``, of different lengths are padded with zeros on the right, and ``attention_mask``, long [P, L],
    1 = real, tells which is which.
    """

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Stack or pad at least one example.

        Raises:
            PluginError: tensors of different shapes that are no series.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        inputs: dict[str, torch.Tensor] = {}
        for name in examples[0]:
            tensors = [torch.as_tensor(example[name]) for example in examples]
            if len({tensor.shape for tensor in tensors}) == 1:
                inputs[name] = torch.stack(tensors)
                continue
            if len({tensor.shape[1:] for tensor in tensors}) > 1 or not 1 <= tensors[0].dim() <= 2:
                shapes = sorted({tuple(tensor.shape) for tensor in tensors})
                raise PluginError(f"{name!r} has shapes that cannot be padded to one another: {shapes}")
            inputs[name] = pad_sequence(tensors, batch_first=True)
            lengths_P = torch.tensor([len(tensor) for tensor in tensors])
            mask_PL = (torch.arange(int(lengths_P.max())) < lengths_P[:, None]).long()
            inputs.setdefault("attention_mask", mask_PL)
        return inputs
