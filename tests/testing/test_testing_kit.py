"""The conformance kit finds each breach of the contract, and says what the contract wants and where."""

from __future__ import annotations

import copy
import random
import re
from collections import UserDict
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn

import u2a
from u2a.contract.modality import Tokens
from u2a.errors import BadSample
from u2a.testing.case import Case, ConformanceError
from u2a.testing.checks import all_checks, check_modality
from u2a.testing.compare import same

WIDTH = 8


class Options(u2a.ModalityOptions):
    longest: int = Field(20, gt=0, description="most letters of a word")


class Letters:
    """Bytes to numbers; every byte is a token, position 0 the class token."""

    def __init__(self, longest: int = 20) -> None:
        self.longest = longest

    def __call__(self, member: bytes, *, train: bool, seed: int) -> dict[str, Any]:
        if not member.isalpha():
            raise BadSample("letters only")
        values = torch.tensor(list(member[: self.longest]))
        return {"values": values.flip(0) if train and random.Random(seed).random() < 0.5 else values}

    def collate(self, examples):
        lengths = torch.tensor([len(example["values"]) for example in examples])
        values = nn.utils.rnn.pad_sequence([example["values"] for example in examples], batch_first=True)
        return {"values": values, "lengths": lengths}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x_NLD, valid_NL):
        scores_NLL = self.q(x_NLD) @ self.k(x_NLD).transpose(1, 2) / WIDTH**0.5
        scores_NLL = scores_NLL.masked_fill(~valid_NL[:, None], -1e4)
        return self.norm(x_NLD + self.o(scores_NLL.softmax(-1) @ self.v(x_NLD)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(256, WIDTH)
        self.cls = nn.Parameter(torch.randn(WIDTH))
        self.positions = nn.Parameter(torch.randn(32, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.dropout = nn.Dropout(0.1)


def embedding(net: Any, inputs: Any) -> Tokens:
    letters_NLD = net.letters(inputs["values"])
    N, L, D = letters_NLD.shape
    hidden_NLD = torch.cat([net.cls.expand(N, 1, D), letters_NLD + net.positions[:L]], 1)
    return Tokens(hidden_NLD, torch.arange(L + 1) <= inputs["lengths"][:, None])


def encoder(net: Any, tokens: Tokens) -> torch.Tensor:
    hidden_NLD = tokens.hidden_NLD
    for block in net.blocks:
        hidden_NLD = net.dropout(block(hidden_NLD, tokens.valid_NL))
    return hidden_NLD


def backbone(options: Options, *, weights: bool) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Net()


def targets(net: nn.Module) -> list[list[str]]:
    return [[f"blocks.{b}.{letter}" for letter in "qkvo"] for b in range(2)]


LETTERS = u2a.ModalitySpec(
    name="letters",
    extensions=("abc",),
    options=Options,
    preprocessor=lambda options: Letters(options.longest),
    backbone=backbone,
    embedding=embedding,
    encoder=encoder,
    width=lambda options: WIDTH,
    lora_targets=targets,
)
MEMBERS = (b"boat", b"sea", b"lighthouse")


def test_a_sound_modality_passes_every_check():
    check_modality(LETTERS, {}, MEMBERS, bad=[b"12"])


class Arrays(Letters):
    """Examples of NumPy arrays and plain numbers; inputs as tokenizers give them, a mapping that is no dict."""

    def __call__(self, member, *, train, seed):
        values = super().__call__(member, train=train, seed=seed)["values"].numpy()
        return {"values": values, "scale": float("nan"), "parts": [values, (values > 100,)]}

    def collate(self, examples):
        return UserDict(super().collate([{"values": torch.tensor(one["values"])} for one in examples]))


def test_examples_of_arrays_and_inputs_of_any_mapping_are_sound():
    check_modality(replace(LETTERS, preprocessor=lambda options: Arrays()), {}, MEMBERS, bad=[b"12"])


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_each_check_by_itself(u2a_check, tune):
    u2a_check(Case(replace(LETTERS, tune=tune), {}, MEMBERS, bad=[b"12"]))


class Undescribed(u2a.ModalityOptions):
    size: int = 3


class Growing(Options):
    """Dumps to something else than it was made from."""

    longest: float = Field(2.0, description="most letters")

    def model_dump(self, **settings: Any) -> dict[str, Any]:
        return {**super().model_dump(**settings), "longest": self.longest + 1}


def preprocessing(change: Callable[[Letters, bytes, bool, int], Any]) -> Callable[[Any], Any]:
    class Changed(Letters):
        def __call__(self, member, *, train, seed):
            return change(self, member, train, seed)

    Changed.__qualname__ = Changed.__name__ = "Changed"
    globals()["Changed"] = Changed
    return lambda options: Changed()


def plain(member: bytes, train: bool = False, seed: int = 0) -> dict[str, Any]:
    return Letters()(member, train=train, seed=seed)


def ignores_padding(net: Any, tokens: Tokens) -> torch.Tensor:
    return encoder(net, replace(tokens, valid_NL=torch.ones_like(tokens.valid_NL)))


def forgets_the_mask_token(net: Any, tokens: Tokens) -> torch.Tensor:
    return encoder(net, replace(tokens, hidden_NLD=tokens.hidden_NLD[:, :-1], valid_NL=tokens.valid_NL[:, :-1]))


def hides_the_mask_token(net: Any, tokens: Tokens) -> torch.Tensor:
    valid_NL = tokens.valid_NL.clone()
    valid_NL[:, -1] = False
    return encoder(net, replace(tokens, valid_NL=valid_NL))


def places_the_mask_token(net: Any, tokens: Tokens) -> torch.Tensor:
    L = tokens.hidden_NLD.shape[1]
    return encoder(net, replace(tokens, hidden_NLD=tokens.hidden_NLD + net.positions[:L]))


def detached(net: Any, tokens: Tokens) -> torch.Tensor:
    hidden_NLD = tokens.hidden_NLD
    return encoder(
        net, replace(tokens, hidden_NLD=torch.cat([hidden_NLD[:, :-1], hidden_NLD[:, -1:].detach()], 1))
    )


def bypasses_lora(net: Any, tokens: Tokens) -> torch.Tensor:
    """As fused attention kernels do: the weights are used, the modules are not."""
    hidden_NLD = tokens.hidden_NLD
    for block in net.blocks:
        key = block.k
        weight = key.base_layer.weight if hasattr(key, "base_layer") else key.weight
        k_NLD = nn.functional.linear(hidden_NLD, weight)
        scores_NLL = block.q(hidden_NLD) @ k_NLD.transpose(1, 2)
        scores_NLL = scores_NLL.masked_fill(~tokens.valid_NL[:, None], -1e4)
        hidden_NLD = block.norm(hidden_NLD + block.o(scores_NLL.softmax(-1) @ block.v(hidden_NLD)))
    return hidden_NLD


def normalises_over_the_batch(net: Any, inputs: Any) -> Tokens:
    tokens = embedding(net, inputs)
    return replace(tokens, hidden_NLD=tokens.hidden_NLD - tokens.hidden_NLD.mean(0, keepdim=True))


def always_random(net: Any, tokens: Tokens) -> torch.Tensor:
    return nn.functional.dropout(encoder(net, tokens), 0.1, training=True)


def pads_left(net: Any, inputs: Any) -> Tokens:
    tokens = embedding(net, inputs)
    assert tokens.valid_NL is not None
    return replace(tokens, valid_NL=tokens.valid_NL.flip(1))


def reads_weights_anyway(options: Options, *, weights: bool) -> nn.Module:
    with torch.device("cpu"):
        return Net()


def wrong_identity(options: Options, *, weights: bool) -> nn.Module:
    net: Any = Net()
    net.u2a_base = {"id": "letters"}
    return net


class Tied(Net):
    """A hook that holds on to the first copy's module, which deep copies then share."""

    def __init__(self) -> None:
        super().__init__()
        first = self.blocks[0]
        self.first = lambda: first


def encoder_of_the_first_copy(net: Any, tokens: Tokens) -> torch.Tensor:
    hidden_NLD = net.first()(tokens.hidden_NLD, tokens.valid_NL)
    return net.blocks[1](hidden_NLD, tokens.valid_NL)


def first_blocks_that_are_run_again(net: Any, tokens: Tokens, count: int) -> Tokens:
    """`encoder` does not look at what was run already."""
    hidden_NLD = tokens.hidden_NLD
    for block in net.blocks[:count]:
        hidden_NLD = block(hidden_NLD, tokens.valid_NL)
    return replace(tokens, hidden_NLD=hidden_NLD)


def encoder_from_where_they_ended(net: Any, tokens: Tokens) -> torch.Tensor:
    begun = tokens.extra.get("begun", 0)
    hidden_NLD = tokens.hidden_NLD
    for block in net.blocks[begun:]:
        hidden_NLD = net.dropout(block(hidden_NLD, tokens.valid_NL))
    return hidden_NLD


def test_first_blocks_that_the_encoder_goes_on_from_pass() -> None:
    def first_blocks(net: Any, tokens: Tokens, count: int) -> Tokens:
        return replace(first_blocks_that_are_run_again(net, tokens, count), extra={"begun": count})

    check = next(check for check in all_checks() if check.name == "blocks in two parts")
    sound = replace(LETTERS, first_blocks=first_blocks, encoder=encoder_from_where_they_ended)
    assert not check.failures(Case(sound, {}, MEMBERS))
    skipping = replace(sound, skip_blocks=lambda net, tokens, count: replace(tokens, extra={"begun": count}))
    assert not check.failures(Case(skipping, {}, MEMBERS))
    repeating = replace(sound, skip_blocks=lambda net, tokens, count: tokens)
    assert any("1 blocks are skipped differs by" in one for one in check.failures(Case(repeating, {}, MEMBERS)))
    idle = replace(sound, first_blocks=lambda net, tokens, count: replace(tokens, extra={"begun": 0}))
    assert any("leave the hidden states as they were" in one for one in check.failures(Case(idle, {}, MEMBERS)))


def not_finite(net: Any, tokens: Tokens) -> torch.Tensor:
    return encoder(net, tokens) * float("nan")


def draws_globally(self: Letters, member: bytes, train: bool, seed: int) -> dict[str, Any]:
    torch.rand(1)
    return plain(member)


def crashes(self: Letters, member: bytes, train: bool, seed: int) -> dict[str, Any]:
    return {"values": torch.tensor([ord(letter) for letter in member.decode()] or [1])}


class Unpicklable(Letters):
    def __init__(self) -> None:
        super().__init__()
        self.decode = lambda member: member


class Lists(Letters):
    def collate(self, examples):
        return [example["values"] for example in examples]


def without_final_norm(net: Any, tokens: Tokens) -> torch.Tensor:
    return encoder(net, tokens) + 0.1


def final_norm_of_the_class_token(net: Any, tokens: Tokens) -> torch.Tensor:
    hidden_NLD = encoder(net, tokens)
    return torch.cat([hidden_NLD[:, :1], 2 * hidden_NLD[:, 1:]], 1)


class Pretrained(Options):
    encoder: str = Field("a/b", description="the checkpoint")


BREACHES = {
    "record": ({"width": lambda options: 8.0}, "width gave 8.0", "ModalitySpec"),
    "options round trip": ({"options": Growing}, "validate to other ones", "ModalityOptions"),
    "options described": ({"options": Undescribed}, "'size' has no Field", "ModalityOptions"),
    "deterministic examples": (
        {"preprocessor": preprocessing(lambda self, m, train, seed: plain(m, True, seed))},
        "evaluation depends on the seed",
        "Preprocessor.__call__",
    ),
    "own random numbers": ({"preprocessor": preprocessing(draws_globally)}, "generator of torch", "__call__"),
    "picklable": ({"preprocessor": lambda options: Unpicklable()}, "local object", "Preprocessor"),
    "bad bytes": ({"preprocessor": preprocessing(crashes)}, "raises UnicodeDecodeError", "__call__"),
    "collated inputs": ({"preprocessor": lambda options: Lists()}, "collate gave list", "collate"),
    "to member": ({"to_member": lambda value: b"1"}, "BadSample: letters only", "ModalitySpec"),
    "meta device": ({"backbone": reads_weights_anyway}, "is not on the meta device", "ModalitySpec"),
    "base weights": ({"backbone": wrong_identity}, "the identity is {'id': 'letters'}", "ModalitySpec"),
    "token shapes": ({"embedding": pads_left}, "padding stands before real tokens", "Embedding"),
    "hidden shapes": ({"encoder": forgets_the_mask_token}, "mask tokens last, got", "Encoder"),
    "bfloat16": ({"encoder": not_finite}, "not finite", "ModalitySpec"),
    "mask token": ({"encoder": hides_the_mask_token}, "as if it were masked out", "Encoder"),
    "mask token positions": ({"encoder": places_the_mask_token}, "two mask tokens swap places", "Encoder"),
    "padding": ({"encoder": ignores_padding}, "with the content of the padding", "Encoder"),
    "batches": ({"embedding": normalises_over_the_batch}, "alone differs by", "collate"),
    "deterministic outputs": ({"encoder": always_random}, "evaluation mode differ", "Encoder"),
    "missing samples": ({"embedding": normalises_over_the_batch}, "present samples change", "U2A.encode"),
    "save and load": ({"encoder": always_random}, "after saving and loading", "load_adapter"),
    "lora count": ({"lora_targets": lambda net: targets(net)[:1]}, None, ""),
    "lora effect": ({"encoder": bypasses_lora}, "LoRA on k (blocks.0.k) changes nothing", "lora_targets"),
    "gradients": ({"encoder": detached}, "the mask token has no gradient", "tune"),
    "checkpoint read": (
        {"backbone": lambda options, *, weights: Net()},
        "tensors are drawn anew by each build, e.g. cls",
        "backbone",
    ),
    "all blocks adapted": (
        {"lora_targets": lambda net: targets(net)[:1]},
        "4 projections are left out, e.g. blocks.1.q",
        "lora_targets",
    ),
    "final norm": ({"encoder": without_final_norm}, "no norm's output (positions that are: none)", "Encoder"),
    "blocks in two parts": (
        {"first_blocks": first_blocks_that_are_run_again},
        "what the encoder gives after 1 of 2 blocks differs by",
        "first_blocks",
    ),
    "sharing": (
        {"options": Pretrained, "share_key": lambda options: "letters"},
        "it is 'letters' whatever encoder say",
        "share_key",
    ),
    "shared weights": (
        {"backbone": lambda options, *, weights: Tied(), "encoder": encoder_of_the_first_copy},
        "changes",
        "lora_targets",
    ),
}


@pytest.mark.parametrize("name", [name for name, (_, finding, _) in BREACHES.items() if finding])
def test_each_breach_is_found_by_its_check(name):
    changes, finding, where = BREACHES[name]
    check = next(check for check in all_checks() if check.name == name)
    assert not check.failures(Case(LETTERS, {}, MEMBERS))
    failures = check.failures(Case(replace(LETTERS, **changes), {}, MEMBERS, values=[1]))
    assert failures, f"{name} found nothing"
    assert any(finding in failure for failure in failures), failures
    assert all(re.search(rf"; the contract wants .+ \(.*{where}.*\)$", failure) for failure in failures)


def test_every_check_has_a_breach_that_it_finds():
    elsewhere = {
        "light import",
        "parts",
        "registered",
        "class position",
        "weights left alone",
        "described and shown",
        "buffers kept",
        "class token reads",
    }  # test_mistakes.py
    assert {check.name for check in all_checks()} - BREACHES.keys() == elsewhere


def test_lora_with_three_targets_a_block_is_refused():
    three = replace(LETTERS, lora_targets=lambda net: [block[:3] for block in targets(net)])
    with pytest.raises(
        ConformanceError, match="parts: with a mask token: lora_targets must name 4 projections"
    ):
        check_modality(three, {}, MEMBERS)


def test_a_plugin_whose_import_brings_torch_is_found(monkeypatch):
    heavy = EntryPoint("letters", "torch", "u2a")
    monkeypatch.setattr("u2a.testing.record.entry_points", lambda group: [heavy])
    check = next(check for check in all_checks() if check.name == "light import")

    class Heavy(Options):
        pass

    Heavy.__module__ = "torch.somewhere"
    assert (
        "importing torch imports torch" in check.failures(Case(replace(LETTERS, options=Heavy), {}, MEMBERS))[0]
    )
    Heavy.__module__ = "elsewhere"
    assert not check.failures(Case(replace(LETTERS, options=Heavy), {}, MEMBERS))


def test_members_of_one_length_do_not_prove_padding():
    with pytest.raises(ConformanceError, match="give the case members of different lengths"):
        check_modality(LETTERS, {}, [b"sea", b"old"])


def test_all_failures_are_listed_at_once():
    broken = replace(LETTERS, encoder=ignores_padding, options=Undescribed, preprocessor=lambda o: Letters())
    with pytest.raises(ConformanceError) as caught:
        check_modality(broken, {}, MEMBERS)
    names = {line.split(":")[0] for line in str(caught.value).splitlines()}
    assert names == {"options described", "padding"}  # that batches differ comes of the padding


def test_same_tells_examples_apart():
    tensor = torch.tensor([1.0, float("nan")])
    assert same({"a": tensor, "b": 1}, {"a": tensor.clone(), "b": 1})
    assert not same({"a": tensor}, {"a": tensor.double()})
    assert not same({"a": tensor}, {"b": tensor})
    assert not same({"a": tensor}, {"a": tensor + 1})
    assert not same({"a": tensor}, {"a": 1})


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.0, np.nan]),
        np.array(["a", "b"]),
        np.zeros((2, 0)),
        float("nan"),
        [np.arange(3), {"a": (np.arange(2), torch.arange(2))}],
    ],
)
def test_arrays_numbers_and_what_holds_them_are_the_same_as_a_copy(value):
    assert same({"a": value}, copy.deepcopy({"a": value}))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.arange(3), np.arange(3) + 1),
        (np.arange(3), np.arange(3.0)),
        (np.zeros(3), np.zeros((1, 3))),
        (np.ones(1), np.zeros(0)),
        (np.ones(2), 1.0),
        (float("nan"), 0.0),
        ([np.arange(3)], [np.arange(3), np.arange(3)]),
        ([torch.arange(3)], (torch.arange(3),)),
        ({"a": np.arange(3)}, None),
    ],
)
def test_what_differs_inside_an_example_is_told(first, second):
    assert not same(first, second)
    assert not same(second, first)


def test_a_norm_on_the_class_token_alone_is_told():
    check = next(check for check in all_checks() if check.name == "final norm")
    failures = check.failures(Case(replace(LETTERS, encoder=final_norm_of_the_class_token), {}, MEMBERS))
    assert len(failures) == 1
    assert "positions that are: the class token's alone" in failures[0]


def test_a_projection_named_twice_is_told():
    twice = replace(LETTERS, lora_targets=lambda net: [[b[0], b[0], b[2], b[3]] for b in targets(net)])
    check = next(check for check in all_checks() if check.name == "all blocks adapted")
    assert "blocks.0.q is named twice" in check.failures(Case(twice, {}, MEMBERS))[0]


def test_a_value_that_loses_something_on_its_way_is_told():
    check = next(check for check in all_checks() if check.name == "to member")
    for to_member, n in ((str.encode, 0), (lambda value: value[:-1].encode(), 1)):
        case = Case(replace(LETTERS, to_member=to_member), {}, MEMBERS, values=[("boat", b"boat"), "sea"])
        assert len(check.failures(case)) == n


def test_one_cause_gives_one_failure():
    def gone(options: Any, *, weights: bool) -> nn.Module:
        raise FileNotFoundError("no such checkpoint")

    with pytest.raises(ConformanceError) as caught:
        check_modality(replace(LETTERS, backbone=gone), {}, MEMBERS, bad=[b"12"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("parts: backbone: FileNotFoundError: no such checkpoint; the contract wants")
