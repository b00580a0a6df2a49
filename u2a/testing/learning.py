"""Conformance checks of what is learned: LoRA on every projection, gradients, shared frozen weights."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from u2a.contract.modality import Tune
from u2a.method.adapters import PROJECTIONS, share_frozen
from u2a.method.branch import UnimodalBranch
from u2a.testing.case import Case, Findings, check
from u2a.testing.compare import far
from u2a.testing.tokens import TARGETS

TUNE = "u2a/modality.py, ModalitySpec.tune"


@check("a forward pass through the adapted nn.Linear itself, in training and in evaluation mode", TARGETS)
def lora_effect(case: Case) -> Findings:
    if case.tune != "lora":
        return
    branch = case.branch()
    for training in (False, True):
        branch.train(training)
        before = _outputs(branch, case)
        for block in branch.targets:
            for letter, name in zip(PROJECTIONS, block, strict=True):
                layer = branch.backbone.get_submodule(name)
                assert isinstance(layer, LoraLinear)
                lora_b: Any = layer.lora_B["default"]
                if not _changes(lora_b.weight, before, branch, case):
                    mode = "training" if training else "evaluation"
                    yield f"LoRA on {letter} ({name}) changes nothing in {mode} mode"


def _changes(weight: nn.Parameter, before: Tensor, branch: UnimodalBranch, case: Case) -> bool:
    with torch.no_grad():
        weight.fill_(0.5)
        after = _outputs(branch, case)
        weight.zero_()
    return far(before, after, 0.0) is not None


def _outputs(branch: UnimodalBranch, case: Case) -> Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        cls_PD, _, mask_PKD = branch(case.inputs)
        return torch.cat([cls_PD[:, None], mask_PKD], 1)


@check('gradients for mask token and LoRA and for nothing frozen; with tune = "full" for the backbone', TUNE)
def gradients(case: Case) -> Findings:
    for tune in case.spec.tunes:
        of = f' (with tune = "{tune}")' if len(case.spec.tunes) > 1 else ""
        yield from (finding + of for finding in _gradients(case, tune))


def _gradients(case: Case, tune: Tune) -> Findings:
    branch = case.branch(tune=tune)
    branch.train()
    learnable = dict(branch.learnable())
    with torch.no_grad():
        for name, parameter in learnable.items():
            if name.endswith("lora_B"):  # at zero it would hide the gradient of lora_A
                parameter.fill_(0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cls_PD, _, mask_PKD = branch(case.inputs)
        weights_D = torch.randn(cls_PD.shape[1])
        # Not the plain sum: a layer norm's outputs always add up to the same.
        ((cls_PD + mask_PKD.sum(1)) * weights_D).sum().backward()
    yield from _missing(tune, learnable)
    mine = set(map(id, learnable.values()))
    if frozen := [n for n, p in branch.named_parameters() if id(p) not in mine and p.grad is not None]:
        yield f"frozen {frozen[0]} has a gradient"


def _missing(tune: Tune, learnable: dict[str, nn.Parameter]) -> Findings:
    without = [n for n, p in learnable.items() if p.grad is None or not p.grad.abs().sum() > 0]
    if "mask_tokens" in without:
        yield "the mask token has no gradient"
    if tune == "lora" and (lora := [name for name in without if name != "mask_tokens"]):
        yield f"{len(lora)} LoRA tensors have no gradient, e.g. {lora[0]}"
    if tune == "full" and len(without) > len(learnable) // 2:
        yield f"{len(without)} of {len(learnable)} tensors have no gradient, e.g. {without[-1]}"


@check("a backbone that can be deep-copied with shared frozen tensors and LoRA of its own", TARGETS)
def shared_weights(case: Case) -> Findings:
    if case.tune != "lora":
        return
    backbone = case.backbone()
    first, second = (case.branch(share_frozen(backbone)) for _ in range(2))
    alone = case.branch()
    before = _outputs(second, case)
    for branch in (first, alone):
        _fill_lora(branch)
    if far(before, _outputs(second, case), 1e-6):
        yield "LoRA of one copy changes the output of the other"
    if far(_outputs(alone, case), _outputs(first, case), 1e-5):
        yield "LoRA of a copy changes the output in another way than it does in the original"


def _fill_lora(branch: UnimodalBranch) -> None:
    with torch.no_grad():
        for name, parameter in branch.learnable():
            if name.endswith("lora_B"):
                parameter.fill_(0.5)
