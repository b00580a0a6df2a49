"""U2A for M modalities: encode each on its own, select tokens, sum, classify (paper eqs. 1 to 7).

Shape suffixes: B batch, M modalities in recipe order, P present samples of one modality, K mask tokens of
one modality, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from u2a.contract.modality import Inputs
from u2a.method.branch import UnimodalBranch
from u2a.method.read_out import ModalityHead, ReadOuts, ReadTokens
from u2a.method.selection import select_tokens


class Output(NamedTuple):
    """What `U2A.forward` returns; absent places of ``cls_BMD`` and ``mask_BMMD`` hold zeros."""

    logits_BC: Tensor
    cls_BMD: Tensor
    mask_BMMD: Tensor


class U2A(nn.Module):
    """The whole model.

    Args:
        branches: one a modality, in recipe order.
        width: D of the fused vector.
        n_classes: C.
        precision: ``"bf16"`` runs the branches under autocast; fusion, head and losses stay in float32.
        read_outs: None = the paper's plain sum; else what stands behind the encoders in its place.
    """

    def __init__(
        self,
        branches: Sequence[UnimodalBranch],
        width: int,
        n_classes: int,
        precision: str,
        read_outs: ReadOuts | None = None,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.read_outs = read_outs
        self.head: nn.Linear | ModalityHead
        if read_outs is None:
            self.head = nn.Linear(width, n_classes)
        else:
            width = read_outs.width
            self.head = ModalityHead(read_outs.names, read_outs.widths, n_classes)
        self.names = tuple(branch.name for branch in branches)
        self.width = width
        self.autocast = precision == "bf16"
        self._unmerge: list[Callable[[], None]] | None = None

    def each_branch(self) -> Iterator[UnimodalBranch]:
        """The branches in recipe order."""
        return (cast(UnimodalBranch, branch) for branch in self.branches)

    @property
    def distinct_targets(self) -> int:
        """How many different mask tokens a modality has by target: M, or 1 if one serves them all."""
        if self.read_outs is not None:
            return len(self.names)
        return len(self.names) if next(self.each_branch()).mask_tokens_KD.shape[0] > 1 else 1

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.head.bias)

    @property
    def fused_width(self) -> int:
        """F of what `fuse` returns."""
        if isinstance(self.head, ModalityHead):
            return sum(weight.shape[1] for weight in self.head.each_weight())
        return self.head.in_features

    @property
    def device(self) -> torch.device:
        """Where the learnable tensors are."""
        return self.head.bias.device

    def forward(self, inputs: Mapping[str, Inputs], present_BM: Tensor) -> Output:
        """Class scores for a batch; `inputs` holds, for each modality, its present samples only."""
        cls_BMD, mask_BMMD = self.encode(inputs, present_BM)  # eqs. 1-3
        return Output(self.classify(cls_BMD, mask_BMMD, present_BM), cls_BMD, mask_BMMD)

    def classify(self, cls_BMD: Tensor, mask_BMMD: Tensor, present_BM: Tensor) -> Tensor:
        """Eqs. 4 and 5: the head on the sum of the selected tokens; ``logits_BC``."""
        selected_BMD = self._select(cls_BMD, mask_BMMD, present_BM)  # eq. 4
        if self.read_outs is not None:
            return self.head(selected_BMD)  # weights of their own for each modality
        return self.head(selected_BMD.sum(1))  # eq. 5

    def fuse(self, cls_BMD: Tensor, mask_BMMD: Tensor, present_BM: Tensor) -> Tensor:
        """The vector that the logits are linear in, one a sample, ``fused_BF``: with the paper's sum F is D."""
        selected_BMD = self._select(cls_BMD, mask_BMMD, present_BM)
        if isinstance(self.head, ModalityHead):
            return self.head.beside(selected_BMD)
        return selected_BMD.sum(1)

    def _select(self, cls_BMD: Tensor, mask_BMMD: Tensor, present_BM: Tensor) -> Tensor:
        if self.read_outs is not None:
            mask_BMMD = mask_BMMD * cast(Tensor, self.read_outs.gate)
        return select_tokens(cls_BMD, mask_BMMD, present_BM)

    def encode(self, inputs: Mapping[str, Inputs], present_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Eqs. 1 to 3 for each modality's present samples: ``cls_BMD`` and ``mask_BMMD``, zeros elsewhere."""
        encoded = [self._encode_one(m, inputs, present_BM[:, m]) for m in range(len(self.names))]
        return torch.stack([cls for cls, _ in encoded], 1), torch.stack([mask for _, mask in encoded], 1)

    def _encode_one(self, m: int, inputs: Mapping[str, Inputs], present_B: Tensor) -> tuple[Tensor, Tensor]:
        B, M, D = len(present_B), len(self.names), self.width
        cls_BD = self.head.bias.new_zeros(B, D)
        mask_BMD = self.head.bias.new_zeros(B, M, D)
        if self.names[m] not in inputs:  # nothing is ever encoded for a missing modality
            return cls_BD, mask_BMD
        tokens = self.run_branch(m, inputs)
        cast(UnimodalBranch, self.branches[m]).check_samples(len(tokens.cls_PH), present_B)
        cls_PD, mask_PMD = self.offer(m, tokens)
        scatter = present_B[:, None]
        return (
            cls_BD.masked_scatter(scatter, cls_PD.to(cls_BD.dtype)),
            mask_BMD.masked_scatter(scatter[:, None], mask_PMD.to(mask_BMD.dtype)),
        )

    def merge_lora(self) -> bool:
        """Adapters into the weights, for passes without gradients; whether there was anything to do.

        Nothing where encoders run in bfloat16 (see `u2a.method.adapters.merge_lora`), or where it is done.
        Changes of adapters have no effect until `unmerge_lora`.
        """
        if self.autocast or self._unmerge is not None:
            return False
        self._unmerge = [branch.merge_lora() for branch in self.each_branch()]
        return True

    def unmerge_lora(self) -> None:
        """Adapters beside the weights again."""
        for restore in self._unmerge or ():
            restore()
        self._unmerge = None

    def offer(self, m: int, tokens: ReadTokens) -> tuple[Tensor, Tensor]:
        """What modality m's samples bring to the selection: ``cls_PD``, and for every target ``mask_PMD``."""
        token_for_target = self._token_for_target(m, tokens.mask_PKH.shape[1])
        if self.read_outs is None:
            return tokens.cls_PH, tokens.mask_PKH[:, token_for_target]
        return self.read_outs.read(m, tokens), self.read_outs.stand_ins(m, tokens, token_for_target)

    def run_branch(self, m: int, inputs: Mapping[str, Inputs]) -> ReadTokens:
        """Eqs. 1 to 3 for modality m's present samples."""
        with self._precision():
            return cast(ReadTokens, self.branches[m](inputs[self.names[m]]))

    def run_below(self, m: int, inputs: Inputs) -> Tensor:
        """What modality m's frozen blocks below the first adapted one give of samples: ``hidden_NLD``."""
        with self._precision():
            return cast(UnimodalBranch, self.branches[m]).below(inputs).hidden_NLD

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)

    def _token_for_target(self, m: int, K: int) -> list[int]:
        """Which of modality m's K mask tokens stands for each target (m itself never is one)."""
        M = len(self.names)
        if K == 1:
            return [0] * M
        return [j - (j > m) if j != m else 0 for j in range(M)]
