"""One modality's way from inputs to a class token and its mask tokens (paper eqs. 1 to 3).

Shape suffixes: P present samples, N rows (samples, or frames of samples), L tokens, D width,
K mask tokens of this modality.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from u2a.contract.blame import Owner, blame
from u2a.contract.modality import Inputs, ModalityOptions, ModalitySpec, Tokens
from u2a.errors import PluginError
from u2a.method.adapters import inject_lora, lora_parameters, merge_lora
from u2a.method.held import hold_statistics
from u2a.method.read_out import ReadTokens

MASK_TOKEN_STD = 0.02


@dataclass(frozen=True)
class Below:
    """Inputs of samples, and what the blocks below the first adapted one gave of each by itself.

    Attributes:
        hidden_NLD: their rows one after another, padded with zeros on the right.
    """

    inputs: Inputs
    hidden_NLD: Tensor


class UnimodalBranch(nn.Module):
    """Embed, append mask tokens, encode, read class and mask tokens, project to the common width.

    Args:
        name: the modality's name in the recipe.
        spec, options: the plugin's record, one ``tune`` chosen, and the recipe section's validated options.
        owner: named in every error that the plugin causes.
        backbone: the pretrained network, its frozen tensors perhaps shared with another branch.
        width: D of the fused vector; a backbone of another width gets a bias-free projection.
        n_mask_tokens: K.
        lora: ``rank``, ``alpha`` and ``dropout``.
        adapt_blocks: how many of the last blocks have adapters and mask tokens; None = all. Those below
            them run without gradients, and in evaluation mode.

    Attributes:
        base: identity of the base weights (`u2a.runs.build.base_identity`), set by who read them.
    """

    base: dict[str, Any]

    def __init__(
        self,
        name: str,
        spec: ModalitySpec,
        options: ModalityOptions,
        owner: Owner,
        backbone: nn.Module,
        *,
        width: int,
        n_mask_tokens: int,
        lora: dict[str, float],
        adapt_blocks: int | None = None,
    ) -> None:
        super().__init__()
        self.name, self.spec, self.owner = name, spec, owner
        self.base: dict[str, Any] = {}  # the identity of the base weights; `u2a.runs.build` sets it
        self.backbone = backbone
        self.targets: list[list[str]] = []
        self.n_frozen = 0  # blocks below the first adapted one
        if spec.tune == "lora":
            self.targets = spec.lora_targets(backbone)
            if spec.first_blocks is not None and adapt_blocks is not None:
                self.n_frozen = max(0, len(self.targets) - adapt_blocks)
                self.targets = self.targets[self.n_frozen :]
            inject_lora(
                backbone, self.targets, rank=int(lora["rank"]), alpha=lora["alpha"], dropout=lora["dropout"]
            )
        elif spec.tune == "frozen":
            backbone.requires_grad_(False)
        if spec.tune != "full":
            hold_statistics(backbone)
        own_width = spec.width(options)
        self.mask_tokens_KD = nn.Parameter(torch.randn(n_mask_tokens, own_width) * MASK_TOKEN_STD)
        self.projection = nn.Linear(own_width, width, bias=False) if own_width != width else nn.Identity()

    def forward(self, inputs: Inputs | Below) -> ReadTokens:
        """Inputs of the P present samples to class, mean and mask tokens, in the learnable tensors' dtype."""
        rows_P, read = self.read_rows(inputs)
        return ReadTokens(*(self.projection(mean_of_rows(x, rows_P)) for x in read))

    def read_rows(self, inputs: Inputs | Below) -> tuple[Tensor | None, ReadTokens]:
        """`forward` before rows (frames) become samples: how many rows each has, and what is read of a row."""
        with blame(self.name, self.owner, "embedding or encoder"):  # eqs. 1 to 3
            if self.n_frozen:
                tokens = self.below(inputs)
            else:
                tokens = self.spec.embedding(self.backbone, cast(Inputs, inputs))
            self._check_tokens(tokens)
            hidden_NLD = self.spec.encoder(self.backbone, self._append_mask_tokens(tokens))
            self._check_hidden(hidden_NLD, tokens)
        n_tokens = tokens.hidden_NLD.shape[1]
        dtype = self.mask_tokens_KD.dtype
        cls_ND = class_token(hidden_NLD[:, :n_tokens].to(dtype), tokens)
        mean_ND = mean_of_valid(hidden_NLD[:, :n_tokens].to(dtype), tokens.valid_NL)
        mask_NKD = hidden_NLD[:, n_tokens:].to(dtype)
        return tokens.rows_P, ReadTokens(cls_ND, mean_ND, mask_NKD)

    def below(self, inputs: Inputs | Below) -> Tokens:
        """Eq. 1 and the blocks below the first adapted one: nothing there learns; `Below` has it already."""
        assert self.spec.first_blocks is not None
        given_NLD = None
        if isinstance(inputs, Below):
            given_NLD, inputs = inputs.hidden_NLD, inputs.inputs
        was_training = self.backbone.training
        self.backbone.eval()
        try:
            with torch.no_grad():
                tokens = self.spec.embedding(self.backbone, inputs)
                if given_NLD is None:
                    return self.spec.first_blocks(self.backbone, tokens, self.n_frozen)
                assert self.spec.skip_blocks is not None
                tokens = replace(tokens, hidden_NLD=_fitted(given_NLD, tokens))
                return self.spec.skip_blocks(self.backbone, tokens, self.n_frozen)
        finally:
            self.backbone.train(was_training)

    @property
    def measures(self) -> int:
        """How many numbers the backbone measures of a sample before the first step; see `Measuring`."""
        return int(getattr(self.backbone, "n_measures", 0)) if self.spec.tune == "full" else 0

    def merge_lora(self) -> Callable[[], None]:
        """See `u2a.method.adapters.merge_lora`."""
        return merge_lora(self.backbone, self.targets)

    def _append_mask_tokens(self, tokens: Tokens) -> Tokens:
        """Eq. 2: ``[CLS, tokens, MT]``; last, without position embedding, always attended to."""
        hidden_NLD = tokens.hidden_NLD
        added_NKD = self.mask_tokens_KD.to(hidden_NLD.dtype).expand(hidden_NLD.shape[0], -1, -1)
        valid_NL = tokens.valid_NL
        if valid_NL is not None:
            valid_NL = torch.cat([valid_NL, valid_NL.new_ones(added_NKD.shape[:2])], 1)
        hidden_NLD = torch.cat([hidden_NLD, added_NKD], 1)
        return replace(tokens, hidden_NLD=hidden_NLD, valid_NL=valid_NL, n_mask_tokens=added_NKD.shape[1])

    def _check_tokens(self, tokens: Tokens) -> None:
        if not isinstance(tokens, Tokens) or tokens.hidden_NLD.dim() != 3:
            raise PluginError("embedding must return Tokens with hidden_NLD of three dimensions")
        width = self.mask_tokens_KD.shape[1]
        if tokens.hidden_NLD.shape[2] != width:
            raise PluginError(f"embedding gave width {tokens.hidden_NLD.shape[2]}, but the spec says {width}")
        rows_P = None if torch.compiler.is_exporting() else tokens.rows_P  # a graph cannot ask for values
        if rows_P is not None and int(rows_P.sum()) != len(tokens.hidden_NLD):
            raise PluginError("Tokens.rows_P does not add up to the rows of hidden_NLD")
        if isinstance(tokens.cls, Tensor) and tokens.cls.shape != tokens.hidden_NLD.shape[:1]:
            rows = len(tokens.hidden_NLD)
            raise PluginError(
                f"Tokens.cls is {list(tokens.cls.shape)}; as a tensor it has one position a row, [{rows}]"
            )

    def _check_hidden(self, hidden_NLD: Tensor, tokens: Tokens) -> None:
        N, L, D = tokens.hidden_NLD.shape
        wanted = (N, L + len(self.mask_tokens_KD), D)
        if tuple(hidden_NLD.shape) != wanted:
            raise PluginError(
                f"encoder must return hidden states of shape {wanted}, mask tokens last, "
                f"got {tuple(hidden_NLD.shape)}"
            )

    def check_samples(self, P: int, present_B: Tensor) -> None:
        """Refuse another number of samples than are present. Not on a GPU: to ask it would be to wait for it.

        Raises:
            PluginError: names the plugin.
        """
        if present_B.device.type == "cpu" and (wanted := int(present_B.sum())) != P:
            with blame(self.name, self.owner, "embedding"):
                raise PluginError(f"gave {P} samples for {wanted}; Tokens.rows_P tells which rows are whose")

    def learnable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Learnable tensors under the names that adapter checkpoints use."""
        yield "mask_tokens", self.mask_tokens_KD
        if isinstance(self.projection, nn.Linear):
            yield "projection.weight", cast(nn.Parameter, self.projection.weight)
        if self.spec.tune == "full":
            yield from ((f"backbone.{name}", p) for name, p in self.backbone.named_parameters())
        yield from lora_parameters(self.backbone, self.targets, self.n_frozen)


def _fitted(given_NLD: Tensor, tokens: Tokens) -> Tensor:
    """Hidden states of rows that were computed alone, as wide as a batch's; what is added is padding."""
    (N, L, _), (n, own, _) = tokens.hidden_NLD.shape, given_NLD.shape
    if n != N or own > L or (own < L and tokens.valid_NL is None):
        raise PluginError(
            f"gave {n} rows of {own} tokens for samples by themselves and {N} of {L} for the same ones together"
        )
    return nn.functional.pad(given_NLD, (0, 0, 0, L - own))


def class_token(hidden_NLD: Tensor, tokens: Tokens) -> Tensor:
    """Each row's class token, of the encoder's own L tokens (without mask tokens); ``cls_ND``."""
    if isinstance(tokens.cls, Tensor):
        return hidden_NLD[torch.arange(hidden_NLD.shape[0], device=hidden_NLD.device), tokens.cls]
    if tokens.cls is not None:
        return hidden_NLD[:, list(tokens.cls)].mean(1)
    return mean_of_valid(hidden_NLD, tokens.valid_NL)


def mean_of_rows(x_N: Tensor, rows_P: Tensor | None) -> Tensor:
    """The mean over each sample's rows: ``[N, ...]`` to ``[P, ...]``; unchanged where rows_P is None."""
    if rows_P is None:
        return x_N
    owner_N = torch.repeat_interleave(torch.arange(len(rows_P), device=x_N.device), rows_P.to(x_N.device))
    sums_P = x_N.new_zeros((len(rows_P), *x_N.shape[1:])).index_add(0, owner_N, x_N)
    return sums_P / rows_P.to(x_N.device).view(-1, *[1] * (x_N.dim() - 1))


def mean_of_valid(hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
    """The mean of each row's real tokens, ``[N, D]``."""
    if valid_NL is None:
        return hidden_NLD.mean(1)
    weight_NL = valid_NL.to(hidden_NLD.dtype)
    return (hidden_NLD * weight_NL.unsqueeze(2)).sum(1) / weight_NL.sum(1, keepdim=True).clamp(min=1)
