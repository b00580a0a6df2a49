"""What an encoder is told of the mask tokens that were appended for it."""

from __future__ import annotations

from dataclasses import replace

import letters_plugin
import pytest
import torch

import u2a
from u2a.contract.blame import Owner
from u2a.method.branch import UnimodalBranch


@pytest.mark.parametrize("K", [1, 3])
def test_an_encoder_learns_how_many_mask_tokens_it_gets(K: int) -> None:
    specs: list[u2a.ModalitySpec] = []
    letters_plugin.u2a_register_modalities(specs.append)
    told: list[tuple[int, int]] = []

    def embedding(net, inputs):
        tokens = letters_plugin.embedding(net, inputs)
        told.append((tokens.n_mask_tokens, tokens.hidden_NLD.shape[1]))
        return tokens

    def encoder(net, tokens):
        told.append((tokens.n_mask_tokens, tokens.hidden_NLD.shape[1]))
        return letters_plugin.encoder(net, tokens)

    branch = UnimodalBranch(
        "letters",
        replace(specs[0], embedding=embedding, encoder=encoder),
        letters_plugin.Options(kind="letters"),
        Owner("letters", "letters", "1"),
        letters_plugin.backbone(None, weights=True),
        width=8,
        n_mask_tokens=K,
        lora={"rank": 1, "alpha": 1.0, "dropout": 0.0},
    )
    branch({"values": torch.tensor([[1, 2, 3], [4, 5, 0]]), "lengths": torch.tensor([3, 2])})
    assert told == [(0, 3), (K, 3 + K)]
