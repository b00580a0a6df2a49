"""Read-outs on one scale, what proxies are made from, the head with weights of its own: a sample by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from u2a.method.read_out import ModalityHead, ReadOuts, ReadTokens

NAMES, WIDTHS = ("text", "image"), (1, 2)  # the widest read-out has 4 numbers; not in the alphabet's order


@pytest.fixture
def read_outs() -> ReadOuts:
    made = ReadOuts(NAMES, WIDTHS, n_mask_tokens=2, rank=1)
    made.scales["text"].set(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.5]))
    made.sources["text"].set(torch.tensor([[0.0, 1, 1], [1, 0, 0]]), torch.tensor([[1.0, 1, 2], [1, 1, 1]]))
    return made


#: Class token 2, mean token 10, mask tokens 2 and 5; and a sample of nothing but means.
TEXT = ReadTokens(
    torch.tensor([[2.0], [1.0]]), torch.tensor([[10.0], [2.0]]), torch.tensor([[[2.0], [5.0]], [[0.0], [1.0]]])
)


def test_a_read_out_is_standardised_and_as_long_as_every_other(read_outs: ReadOuts) -> None:
    """(2 - 1) 3 = 3 and (10 - 2) / 2 = 4 of length 5, made sqrt(4) long; what is all mean stays 0."""
    assert read_outs.own(0, TEXT).tolist() == [pytest.approx([1.2, 1.6]), [0, 0]]
    assert read_outs.read(0, TEXT).tolist() == [pytest.approx([1.2, 1.6, 0, 0]), [0, 0, 0, 0]]


def test_a_proxy_is_made_from_a_mask_token_beside_class_and_mean_token(read_outs: ReadOuts) -> None:
    """(2, 2 - 1, 2 (10 - 1)) and (5 - 1, 2, 10), made sqrt(3) long; a modality says nothing of itself."""
    source = read_outs.source(0, TEXT)[0]
    by_hand = [[2.0, 1, 18], [4.0, 2, 10]]
    for row, wanted in zip(source.tolist(), by_hand, strict=True):
        assert row == pytest.approx([math.sqrt(3) / math.hypot(*wanted) * x for x in wanted])
    proxy = read_outs.proxies["text_to_image"]
    proxy.encode.weight.data = torch.tensor([[1.0, 10, 100]])
    proxy.decode.weight.data = torch.tensor([[1.0], [2], [3], [4]])
    for column in (0, 1):
        code = float(source[column] @ torch.tensor([1.0, 10, 100]))
        found = read_outs.stand_ins(0, TEXT, [-1, column])[0]
        assert found.tolist() == [[0, 0, 0, 0], pytest.approx([code, 2 * code, 3 * code, 4 * code])]


def test_a_narrow_stand_in_ends_in_zeros(read_outs: ReadOuts) -> None:
    image = ReadTokens(torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 2, 2))
    proxy = read_outs.proxies["image_to_text"]
    proxy.encode.weight.data.fill_(1)
    proxy.decode.weight.data = torch.tensor([[1.0], [2]])
    code = 6 * 1.0  # six ones are sqrt(6) long already
    assert read_outs.stand_ins(1, image, [0, -1]).tolist() == [[[code, 2 * code, 0, 0], [0, 0, 0, 0]]] * 3


@pytest.mark.parametrize("made", [lambda: ReadOuts(NAMES, WIDTHS, 1, 0), lambda: ReadOuts(("a",), (2,), 1, 3)])
def test_without_proxies_nothing_but_means_stands_in(made: Callable[[], ReadOuts]) -> None:
    read_outs, H = made(), made().widths[0]
    assert [*read_outs.proxies, *read_outs.sources] == []
    tokens = ReadTokens(torch.ones(3, H), torch.ones(3, H), torch.ones(3, 1, H))
    M = len(read_outs.names)
    assert torch.equal(read_outs.stand_ins(0, tokens, [0] * M), torch.zeros(3, M, 4))


def test_what_is_learned_of_proxies_is_two_matrices_each(read_outs: ReadOuts) -> None:
    shapes = {name: tuple(one.shape) for name, one in read_outs.named_parameters()}
    assert shapes == {
        "proxies.text_to_image.encode.weight": (1, 3),
        "proxies.text_to_image.decode.weight": (4, 1),
        "proxies.image_to_text.encode.weight": (1, 6),
        "proxies.image_to_text.decode.weight": (2, 1),
    }
    assert {name: tuple(one.shape) for name, one in read_outs.named_buffers()} == {
        "gate": (),
        **{f"scales.text.{part}": (2,) for part in ("mean", "scale")},
        **{f"scales.image.{part}": (4,) for part in ("mean", "scale")},
        **{f"sources.text.{part}": (2, 3) for part in ("mean", "scale")},
        **{f"sources.image.{part}": (2, 6) for part in ("mean", "scale")},
    }


def test_the_head_has_weights_for_each_modality() -> None:
    """Logits: bias + (W read summed over modalities) / sqrt(9); a narrow one's padding counts for nothing."""
    head = ModalityHead(NAMES, WIDTHS, 2)
    shapes = {name: tuple(one.shape) for name, one in head.named_parameters()}
    assert shapes == {"bias": (2,), "weights.text": (2, 2), "weights.image": (2, 4)}
    assert not any(weight.any() for weight in head.parameters())
    head.bias.data = torch.tensor([1.0, -1])
    head.weights["text"].data = torch.tensor([[1.0, 2], [0, 1]])
    head.weights["image"].data = torch.tensor([[1.0, 0, 0, 1], [0, 2, 0, 0]])
    selected: Tensor = torch.full((1, 2, 9), 99.0)
    selected[0, 0, :2] = torch.tensor([3.0, 4])
    selected[0, 1, :4] = torch.tensor([6.0, 9, 7, 8])
    # text: 3 + 8 and 4; image: 6 + 8 and 18
    assert head(selected)[0].tolist() == pytest.approx([1 + (11 + 14) / 3, -1 + (4 + 18) / 3])
    assert head.beside(selected)[0].tolist() == pytest.approx([x / 3 for x in (3, 4, 6, 9, 7, 8)])
    head.decay_M.copy_(torch.tensor([10.0, 0.5]))
    assert head.penalty().item() == 10 * (1 + 4 + 1) + 0.5 * (1 + 1 + 4)
