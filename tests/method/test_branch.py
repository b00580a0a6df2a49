"""What an embedding and an encoder may give, and means of real tokens; by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from u2a.contract.modality import Tokens
from u2a.errors import PluginError
from u2a.method.branch import UnimodalBranch, mean_of_valid

BRANCH: Any = SimpleNamespace(mask_tokens_KD=torch.arange(16.0).view(2, 8))
HIDDEN = torch.randn(3, 4, 8)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (HIDDEN, "must return Tokens with hidden_NLD of three dimensions"),
        (Tokens(HIDDEN[0]), "must return Tokens with hidden_NLD of three dimensions"),
        (Tokens(torch.randn(3, 4, 7)), "gave width 7, but the spec says 8"),
        (Tokens(HIDDEN, rows_P=torch.tensor([1, 1])), "rows_P does not add up to the rows"),
        (
            Tokens(HIDDEN, cls=torch.tensor([1, 1])),
            r"cls is \[2\]; as a tensor it has one position a row, \[3\]",
        ),
    ],
)
def test_what_an_embedding_may_not_give(tokens: Any, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        UnimodalBranch._check_tokens(BRANCH, tokens)


def test_what_an_embedding_may_give() -> None:
    for more in ({}, {"rows_P": torch.tensor([1, 2])}, {"cls": torch.tensor([0, 1, 3])}, {"cls": None}):
        UnimodalBranch._check_tokens(BRANCH, Tokens(HIDDEN, **more))


@pytest.mark.parametrize("shape", [(3, 4, 8), (3, 7, 8), (2, 6, 8), (3, 6, 9)])
def test_an_encoder_gives_every_token_and_the_mask_tokens(shape: tuple[int, ...]) -> None:
    UnimodalBranch._check_hidden(BRANCH, torch.zeros(3, 6, 8), Tokens(HIDDEN))
    with pytest.raises(PluginError, match=r"hidden states of shape \(3, 6, 8\), mask tokens last, got"):
        UnimodalBranch._check_hidden(BRANCH, torch.zeros(shape), Tokens(HIDDEN))


def test_mask_tokens_come_last_are_counted_and_always_attended_to() -> None:
    valid = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    found = UnimodalBranch._append_mask_tokens(BRANCH, Tokens(HIDDEN, valid_NL=valid))
    assert found.n_mask_tokens == 2
    assert torch.equal(found.hidden_NLD, torch.cat([HIDDEN, BRANCH.mask_tokens_KD.expand(3, 2, 8)], 1))
    assert found.valid_NL is not None
    assert found.valid_NL.tolist() == [[*row, True, True] for row in valid.tolist()]


def test_a_mean_is_of_the_real_tokens_and_zero_of_none() -> None:
    valid = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]).bool()
    found = mean_of_valid(HIDDEN, valid)
    torch.testing.assert_close(found, torch.stack([HIDDEN[0].mean(0), HIDDEN[1, 1], torch.zeros(8)]))
