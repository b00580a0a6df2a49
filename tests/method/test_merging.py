"""Adapters in the weights: the same numbers as beside them, and nothing of it stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from u2a.method.adapters import inject_lora, lora_parameters, merge_lora, share_frozen

TARGETS = [["q", "k", "v", "o"]]


class Block(nn.Module):
    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        for name in "qkvo":
            self.add_module(name, nn.Linear(6, 6, bias=name != "k", dtype=dtype))

    def forward(self, x):
        return self.o(torch.tanh(self.v(x)) * self.q(x) + self.k(x))


def adapted(block: Block, *, alpha: float = 3.0) -> Block:
    inject_lora(block, TARGETS, rank=2, alpha=alpha, dropout=0.5)
    with torch.no_grad():
        for _, parameter in lora_parameters(block, TARGETS):
            parameter.normal_()
    return block.eval()


def by_hand(block: Block, x: np.ndarray, alpha: float = 3.0) -> np.ndarray:
    """The block in numpy: W + alpha / rank B A."""
    learned = {name: p.detach().numpy().astype(float) for name, p in lora_parameters(block, TARGETS)}

    def project(name: str, value: np.ndarray) -> np.ndarray:
        base = getattr(block, name).get_base_layer()
        update = learned[f"blocks.00.{name}.lora_B"] @ learned[f"blocks.00.{name}.lora_A"]
        weight = base.weight.detach().numpy() + alpha / 2 * update
        bias = 0 if base.bias is None else base.bias.detach().numpy()
        return value @ weight.T + bias

    return project("o", np.tanh(project("v", x)) * project("q", x) + project("k", x))


def test_merged_weights_compute_what_adapters_beside_them_compute() -> None:
    torch.manual_seed(0)
    block, x = adapted(Block()), torch.randn(5, 6)
    beside = block(x)
    state = {name: value.clone() for name, value in block.state_dict().items()}
    restore = merge_lora(block, TARGETS)
    merged = block(x)
    np.testing.assert_allclose(merged.detach().numpy(), by_hand(block, x.numpy()), rtol=1e-4, atol=1e-4)
    assert not torch.equal(merged, beside)  # another order of the sums: the adapters are not beside any more
    torch.testing.assert_close(merged, beside, rtol=1e-4, atol=1e-4)
    restore()
    assert torch.equal(block(x), beside)
    assert all(torch.equal(value, state[name]) for name, value in block.state_dict().items())


def test_merging_needs_no_adapter_any_more_and_learns_nothing() -> None:
    torch.manual_seed(0)
    block, x = adapted(Block()), torch.randn(5, 6)
    restore = merge_lora(block, TARGETS)
    before = block(x)
    with torch.no_grad():
        for _, parameter in lora_parameters(block, TARGETS):
            parameter.zero_()
    assert torch.equal(block(x), before)
    restore()
    assert not torch.equal(block(x), before)


def test_branches_that_share_frozen_tensors_each_merge_their_own() -> None:
    torch.manual_seed(0)
    base = Block()
    one, other = adapted(share_frozen(base)), adapted(share_frozen(base))
    x = torch.randn(5, 6)
    wanted = one(x), other(x)
    assert one.q.get_base_layer().weight is other.q.get_base_layer().weight
    merge_lora(one, TARGETS)
    torch.testing.assert_close(one(x), wanted[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(other(x), wanted[1])
    merge_lora(other, TARGETS)
    torch.testing.assert_close(one(x), wanted[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other(x), wanted[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_adapters(dtype: torch.dtype) -> None:
    """An update of a thousandth of the weight would be rounded away."""
    torch.manual_seed(0)
    block = adapted(Block(dtype), alpha=1e-3)
    merge_lora(block, TARGETS)
    assert all("forward" not in vars(getattr(block, name)) for name in "qkvo")
