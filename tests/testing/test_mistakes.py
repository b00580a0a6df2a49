"""Mistakes that authors of plugins make, each with the one line that the kit prints for it."""

from __future__ import annotations

import random
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from distributions import install, visible
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import nn

import u2a
from u2a.cli.main import main
from u2a.contract.modality import Tokens
from u2a.testing.case import Case, ConformanceError
from u2a.testing.checks import all_checks, check_modality, run_checks

WIDTH = 8
MEMBERS = (b"boat", b"sea", b"lighthouse")


class Options(u2a.ModalityOptions):
    encoder: str = Field("", description="folder with the weights")
    longest: int = Field(20, gt=0, description="most letters of a word")


class Letters:
    def __init__(self, longest: int = 20) -> None:
        self.longest = longest

    def __call__(self, member, *, train, seed):
        if not member.isalpha() or not member.isascii():
            raise u2a.BadSample("letters only")
        return {"values": torch.tensor(list(member[: self.longest]))}

    def collate(self, examples):
        values = [example["values"] for example in examples]
        lengths = torch.tensor([len(one) for one in values])
        return {"values": nn.utils.rnn.pad_sequence(values, batch_first=True), "lengths": lengths}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x_NLD, valid_NL):
        scores_NLL = self.q(x_NLD) @ self.k(x_NLD).transpose(1, 2) / WIDTH**0.5
        return x_NLD + self.o(scores_NLL.masked_fill(~valid_NL[:, None], -1e4).softmax(-1) @ self.v(x_NLD))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.letters, self.cls_token = nn.Embedding(256, WIDTH), nn.Parameter(torch.randn(WIDTH))
        self.positions = nn.Parameter(torch.randn(32, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm = nn.LayerNorm(WIDTH)


def fixed(options: Any = None, *, weights: bool = True) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Net()


def embedding(net: Any, inputs: Any) -> Tokens:
    letters_NLD = net.letters(inputs["values"])
    N, L, D = letters_NLD.shape
    hidden_NLD = torch.cat([net.cls_token.expand(N, 1, D), letters_NLD + net.positions[:L]], 1)
    return Tokens(hidden_NLD, torch.arange(L + 1) <= inputs["lengths"][:, None])


def blocks(net: Any, tokens: Tokens) -> torch.Tensor:
    hidden_NLD = tokens.hidden_NLD
    for block in net.blocks:
        hidden_NLD = block(hidden_NLD, tokens.valid_NL)
    return hidden_NLD


def encoder(net: Any, tokens: Tokens) -> torch.Tensor:
    return net.norm(blocks(net, tokens))


def counts_its_passes(net: Any, tokens: Tokens) -> torch.Tensor:
    if net.norm.training:
        net.norm.passes += 1
    return encoder(net, tokens)


def from_left_to_right(net: Any, tokens: Tokens) -> torch.Tensor:
    K = tokens.n_mask_tokens
    L = tokens.hidden_NLD.shape[1]
    sees_LL = torch.ones(L, L).tril().bool() | (torch.arange(L) >= L - K)
    hidden_NLD = tokens.hidden_NLD
    for block in net.blocks:
        scores_NLL = block.q(hidden_NLD) @ block.k(hidden_NLD).transpose(1, 2) / WIDTH**0.5
        scores_NLL = scores_NLL.masked_fill(~(tokens.valid_NL[:, None] & sees_LL), -1e4)
        hidden_NLD = block.norm(hidden_NLD + block.o(scores_NLL.softmax(-1) @ block.v(hidden_NLD)))
    return net.norm(hidden_NLD)


def with_a_counter(options: Any = None, *, weights: bool = True) -> Any:
    net = fixed()
    net.norm.register_buffer("passes", torch.zeros(1))
    return net


def targets(net: Any) -> list[list[str]]:
    return [[f"blocks.{b}.{letter}" for letter in "qkvo"] for b in range(2)]


LETTERS = u2a.ModalitySpec(
    name="letters",
    extensions=("abc",),
    options=Options,
    preprocessor=lambda options: Letters(options.longest),
    backbone=fixed,
    embedding=embedding,
    encoder=encoder,
    width=lambda options: WIDTH,
    lora_targets=targets,
    share_key=lambda options: options.encoder,
    to_member=str.encode,
)


def norm_of_the_class_token(net: Any, tokens: Tokens) -> torch.Tensor:
    hidden_NLD = blocks(net, tokens)
    return torch.cat([net.norm(hidden_NLD[:, :1]), hidden_NLD[:, 1:]], 1)


def no_class_token(net: Any, inputs: Any) -> Tokens:
    tokens = embedding(net, inputs)
    assert tokens.valid_NL is not None
    return replace(tokens, hidden_NLD=tokens.hidden_NLD[:, 1:], valid_NL=tokens.valid_NL[:, 1:])


def reads_always(options: Options, *, weights: bool) -> nn.Module:
    net = fixed()
    with torch.device("cpu"):
        tensors = load_file(Path(options.encoder) / "model.safetensors")
    net.load_state_dict(tensors, assign=False) if weights else None
    return net


def fused(net: Any, tokens: Tokens) -> torch.Tensor:
    """As fused kernels do: the weights are used, the modules are not."""
    hidden_NLD = tokens.hidden_NLD
    for block in net.blocks:
        weight = (block.k.base_layer if hasattr(block.k, "base_layer") else block.k).weight
        scores_NLL = block.q(hidden_NLD) @ nn.functional.linear(hidden_NLD, weight).transpose(1, 2)
        scores_NLL = scores_NLL.masked_fill(~tokens.valid_NL[:, None], -1e4)
        hidden_NLD = hidden_NLD + block.o(scores_NLL.softmax(-1) @ block.v(hidden_NLD))
    return net.norm(hidden_NLD)


def valid_everywhere(net: Any, tokens: Tokens) -> torch.Tensor:
    return encoder(net, replace(tokens, valid_NL=torch.ones_like(tokens.valid_NL)))


def drops_the_last(net: Any, tokens: Tokens) -> torch.Tensor:
    return encoder(net, replace(tokens, hidden_NLD=tokens.hidden_NLD[:, :-1], valid_NL=tokens.valid_NL[:, :-1]))


def hides_the_last(net: Any, tokens: Tokens) -> torch.Tensor:
    valid_NL = tokens.valid_NL.clone()
    valid_NL[:, -1] = False
    return encoder(net, replace(tokens, valid_NL=valid_NL))


def places_the_last(net: Any, tokens: Tokens) -> torch.Tensor:
    return encoder(
        net, replace(tokens, hidden_NLD=tokens.hidden_NLD + net.positions[: tokens.hidden_NLD.shape[1]])
    )


def detached(net: Any, tokens: Tokens) -> torch.Tensor:
    hidden_NLD = tokens.hidden_NLD
    return encoder(
        net, replace(tokens, hidden_NLD=torch.cat([hidden_NLD[:, :-1], hidden_NLD[:, -1:].detach()], 1))
    )


def random_always(net: Any, tokens: Tokens) -> torch.Tensor:
    return net.norm(nn.functional.dropout(blocks(net, tokens), 0.1, training=True))


def over_the_batch(net: Any, inputs: Any) -> Tokens:
    tokens = embedding(net, inputs)
    return replace(tokens, hidden_NLD=tokens.hidden_NLD - tokens.hidden_NLD.mean(0, keepdim=True))


def pads_left(net: Any, inputs: Any) -> Tokens:
    tokens = embedding(net, inputs)
    assert tokens.valid_NL is not None
    return replace(tokens, valid_NL=tokens.valid_NL.flip(1))


def preprocessing(call: Any = None, **more: Any) -> Any:
    changed = type("Changed", (Letters,), {**({"__call__": call} if call else {}), **more})
    changed.__module__ = __name__

    def preprocessor(options: Any) -> Any:
        globals()["Changed"] = changed  # pickling looks there; of all that have this name, for this one
        return changed()

    return preprocessor


def draws(self, member, *, train, seed):
    torch.rand(1)
    return Letters()(member, train=train, seed=seed)


def augments_always(self, member, *, train, seed):
    example = Letters()(member, train=train, seed=seed)
    return {"values": example["values"].flip(0) if random.Random(seed).random() < 0.5 else example["values"]}


def lets_errors_out(self, member, *, train, seed):
    return {"values": torch.tensor([ord(letter) for letter in member.decode()] or [1])}


#: mistake -> (what it changes in the record, the line)
VERSION_2 = {"api": 2, "share_key": None}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "final norm forgotten": (
        {"encoder": blocks},
        r"final norm: .* no norm's output \(positions that are: none\)",
    ),
    "final norm on the class token alone": (
        {"encoder": norm_of_the_class_token},
        r"final norm: .* \(positions that are: the class token's alone\)",
    ),
    "a block left unadapted": (
        {"lora_targets": lambda net: targets(net)[:1]},
        "all blocks adapted: 4 projections are left out, e.g. blocks.1.q",
    ),
    "three projections a block": (
        {"lora_targets": lambda net: [block[:3] for block in targets(net)]},
        "parts: with a mask token: lora_targets must name 4 projections",
    ),
    "a projection named twice": (
        {"lora_targets": lambda net: [[b[0], b[0], b[2], b[3]] for b in targets(net)]},
        "parts: with a mask token: .*twice",
    ),
    "a target that is no linear layer": (
        {"lora_targets": lambda net: [[*b[:3], "norm"] for b in targets(net)]},
        "parts: with a mask token: lora_targets names 'norm', which is no nn.Linear",
    ),
    "checkpoint never read": (
        {"backbone": lambda options, *, weights: Net()},
        r"checkpoint read: \d+ of \d+ tensors are drawn anew by each build",
    ),
    "a buffer that training writes": (
        {"backbone": with_a_counter, "encoder": counts_its_passes},
        r"buffers kept: training passes change norm\.passes, so that a model that is loaded is not the one",
    ),
    "weights=False reads the checkpoint": (
        {"backbone": reads_always},
        "weights left alone: where encoder holds no weights it raises FileNotFoundError",
    ),
    "no such checkpoint": (
        {"backbone": lambda options, *, weights: Path(options.encoder, "none").read_bytes()},
        "parts: backbone: FileNotFoundError: .*none",
    ),
    "constant share key": (
        {"share_key": lambda options: "letters"},
        "sharing: it is 'letters' whatever encoder say: two checkpoints would become one",
    ),
    "to_member loses something": (
        {"to_member": lambda value: value[:-1].encode()},
        "to member: the value 'boat' gives another example than the file that holds it",
    ),
    "class position other than the backbone's": (
        {"embedding": lambda net, inputs: replace(embedding(net, inputs), cls=(1,))},
        r"class position: cls is \(1,\), but cls_token stands at 0",
    ),
    "class positions for other rows": (
        {
            "embedding": lambda net, inputs: replace(
                embedding(net, inputs), cls=torch.zeros(2, dtype=torch.long)
            )
        },
        r"parts: with a mask token: Tokens.cls is \[2\]; as a tensor it has one position a row",
    ),
    "class position in the padding": (
        {"embedding": lambda net, inputs: replace(embedding(net, inputs), cls=torch.tensor([0, 8, 0]))},
        "token shapes: a class position is padding",
    ),
    "class position without a class token": (
        {"embedding": no_class_token},
        r"class position: what stands at \(0,\) differs by sample, so it is no class token; cls=None",
    ),
    "class token that sees nothing": (
        {"encoder": from_left_to_right, "api": 2, "share_key": None},
        r"class token reads: what stands at \(0,\) is the same for different samples",
    ),
    "wrong width": (
        {"width": lambda options: 16},
        "parts: with a mask token: embedding gave width 8, but the spec says 16",
    ),
    "mask token cut off": (
        {"encoder": drops_the_last},
        "parts: with a mask token: encoder must return hidden states of shape",
    ),
    "mask token masked out": ({"encoder": hides_the_last}, "mask token: .*as if it were masked out"),
    "mask token given a position": (
        {"encoder": places_the_last},
        "mask token positions: outputs differ by .* when two mask tokens swap places",
    ),
    "mask token detached": ({"encoder": detached}, "gradients: the mask token has no gradient"),
    "padding attended to": (
        {"encoder": valid_everywhere},
        "padding: real tokens change by .* with the content of the padding",
    ),
    "padding on the left": ({"embedding": pads_left}, "token shapes: padding stands before real tokens"),
    "normalised over the batch": ({"embedding": over_the_batch}, "batches: .*alone differs"),
    "dropout in evaluation": (
        {"encoder": random_always},
        "deterministic outputs: two runs in evaluation mode differ",
    ),
    "fused attention": ({"encoder": fused}, r"lora effect: LoRA on k \(blocks.0.k\) changes nothing"),
    "outputs that are not numbers": (
        {"encoder": lambda net, tokens: encoder(net, tokens) * float("nan")},
        "hidden shapes: outputs are not finite",
    ),
    "draws from the global generator": (
        {"preprocessor": preprocessing(draws)},
        "own random numbers: it draws from the global generator of torch",
    ),
    "augments in evaluation": (
        {"preprocessor": lambda options: preprocessing(augments_always)(options)},
        "deterministic examples: evaluation depends on the seed",
    ),
    "accepts anything, or lets a decoder's errors out": (
        {"preprocessor": lambda options: preprocessing(lets_errors_out)(options)},
        "bad bytes: .*is accepted",
    ),
    "example that cannot be made": (
        {
            "preprocessor": lambda options: preprocessing(lambda self, member, *, train, seed: member.nothing)(
                options
            )
        },
        "parts: example: AttributeError: 'bytes' object has no attribute 'nothing'",
    ),
    "a description that a damaged file breaks": (
        {**VERSION_2, "describe": lambda options, member: u2a.Description("word", {"first": member[0]})},
        r"described and shown: describe raises IndexError for b''...: index out of range",
    ),
    "a picture that is an array": (
        {**VERSION_2, "preview": lambda options, member, width: np.zeros((4, width))},
        "described and shown: preview gave ndarray",
    ),
}


def options_of(folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    save_file(fixed().state_dict(), folder / "model.safetensors")
    return {"encoder": str(folder)}


def lines_of(spec: u2a.ModalitySpec, folder: Path) -> list[str]:
    values = [("boat", b"boat")]
    case = Case(spec, options_of(folder), MEMBERS, bad=[b"12"], values=values)
    return [line for _, failures in run_checks(case) for line in failures]


def test_the_record_without_a_mistake_passes(tmp_path):
    assert not lines_of(LETTERS, tmp_path)
    assert len(MISTAKES) >= 24


def test_a_class_position_of_each_row_passes(tmp_path):
    def at_the_end(net: Any, inputs: Any) -> Tokens:
        return replace(embedding(net, inputs), cls=inputs["lengths"])

    assert not lines_of(replace(LETTERS, embedding=at_the_end), tmp_path)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_by_one_check(tmp_path, mistake):
    changes, line = MISTAKES[mistake]
    lines = lines_of(replace(LETTERS, **changes), tmp_path)
    assert lines
    assert re.match(line, lines[0]), lines
    assert {one.partition(":")[0] for one in lines} == {lines[0].partition(":")[0]}, lines
    assert all(re.search(r"; the contract wants .+ \(.+\)$", one) for one in lines)


def test_each_check_by_itself_skips_what_another_explains(tmp_path):
    case = Case(replace(LETTERS, encoder=valid_everywhere), options_of(tmp_path), MEMBERS, bad=[b"12"])
    checks = {check.name: check for check in all_checks()}
    with pytest.raises(pytest.skip.Exception, match="not tried, because of: padding"):
        checks["batches"](case)
    with pytest.raises(ConformanceError, match="padding: real tokens change"):
        checks["padding"](case)
    checks["lora effect"](case)


CODE = """
import u2a
from {module} import LETTERS
@u2a.hookimpl
def u2a_register_modalities(register):
    {line}
"""


@pytest.mark.parametrize(
    ("group", "line", "said"),
    [
        ("u2a", "register(LETTERS)", None),
        (
            "u2a",
            "pass",
            "registers no modality 'letters': u2a_register_modalities registered nothing; write: def",
        ),
        ("u2a", "register(LETTERS, LETTERS)", "registers no modality 'letters': TypeError: "),
        (
            "u2a.plugins",
            "register(LETTERS)",
            "its entry points are in the group 'u2a.plugins', so u2a does not see it",
        ),
    ],
)
def test_what_is_installed_and_not_registered_is_told(tmp_path, monkeypatch, group, line, said):
    package = f"letters_plugin_{abs(hash((group, line)))}"
    record = replace(LETTERS, options=type("Options", (Options,), {"__module__": package}))
    holder = ModuleType(f"{package}_record")
    holder.LETTERS = record  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, holder.__name__, holder)
    code = CODE.format(module=holder.__name__, line=line)
    install(tmp_path, "letters-plugin", {package: package}, code=code)
    for entries in tmp_path.glob("*/entry_points.txt"):
        entries.write_text(entries.read_text().replace("[u2a]", f"[{group}]"))
    check = next(check for check in all_checks() if check.name == "registered")
    with visible(tmp_path):
        found = check.failures(Case(record, {}, MEMBERS))
    assert len(found) == (said is not None), found
    assert said is None or said in found[0]


def test_the_command_names_the_failures_and_counts_them(tmp_path):
    (tmp_path / "a.abc").write_bytes(b"boat")
    (tmp_path / "b.abc").write_bytes(b"lighthouse")
    module = ModuleType("spoilt_letters")
    module.SPOILT = replace(LETTERS, encoder=valid_everywhere)  # type: ignore[attr-defined]
    sys.modules["spoilt_letters"] = module
    plugin = tmp_path / "spoilt_plugin.py"
    plugin.write_text(
        CODE.format(module="spoilt_letters", line="register(LETTERS)").replace("LETTERS", "SPOILT")
    )
    command = [
        "plugins",
        "check",
        "letters",
        str(tmp_path / "a.abc"),
        str(tmp_path / "b.abc"),
        "--plugin",
        str(plugin),
    ]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "padding: real tokens change by" in done.output
    assert "not tried, because of padding: batches" in done.output
    assert "1 check failed" in done.output
    check_modality(LETTERS, {}, MEMBERS)
