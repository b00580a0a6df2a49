"""Conformance checks of the pretrained part: read as it is, adapted everywhere, normalised throughout."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor, nn

from u2a.testing.case import Case, Findings, check
from u2a.testing.compare import far

SPEC = "u2a/modality.py, ModalitySpec"
ENCODER = "u2a/modality.py, Encoder"


@check(
    "a checkpoint that is read: two builds of a frozen backbone to hold the same tensors", SPEC + ".backbone"
)
def checkpoint_read(case: Case) -> Findings:
    if case.tune == "full":
        return
    first, second = (_built(case, seed) for seed in (0, 1))
    different = [name for name in first if name not in second or not torch.equal(first[name], second[name])]
    if different:
        yield f"{len(different)} of {len(first)} tensors are drawn anew by each build, e.g. {different[0]}"


def _built(case: Case, seed: int) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return case.spec.backbone(case.chosen, weights=True).state_dict()


@check("every block and every like-named projection adapted, none named twice", SPEC + ".lora_targets")
def all_blocks_adapted(case: Case) -> Findings:
    if case.tune != "lora":
        return
    backbone = case.backbone()
    names = [name for block in case.spec.lora_targets(backbone) for name in block]
    shapes = {_shape(name) for name in names}
    linear = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    if left := [name for name in linear if name not in names and _shape(name) in shapes]:
        yield f"{len(left)} projections are left out, e.g. {left[0]}"
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield f"{twice[0]} is named twice"


def _shape(name: str) -> str:
    """A module's name without the numbers of its blocks."""
    return re.sub(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)", "#", name)


@check("the backbone's final norm on every position of the hidden states", ENCODER)
def final_norm(case: Case) -> Findings:
    backbone, width = case.backbone().eval(), case.spec.width(case.chosen)
    given: list[Tensor] = []
    norms = [
        module
        for module in backbone.modules()
        if "norm" in type(module).__name__.lower()
        and getattr(module, "weight", None) is not None
        and module.weight.shape == (width,)
    ]
    for module in norms:
        module.register_forward_hook(lambda module, inputs, output: given.append(output))
    with torch.no_grad():
        hidden_NLD = case.spec.encoder(backbone, case.tokens_of(backbone))
    if norms and not any(_equal(output, hidden_NLD) for output in given):
        part = (
            "the class token's alone" if any(_equal_class(output, hidden_NLD) for output in given) else "none"
        )
        yield f"what the encoder gives is no norm's output (positions that are: {part})"


def _equal(output: object, hidden_NLD: Tensor) -> bool:
    if not isinstance(output, Tensor) or output.numel() != hidden_NLD.numel():
        return False
    return torch.allclose(output.reshape(hidden_NLD.shape).float(), hidden_NLD.float(), atol=1e-5)


def _equal_class(output: object, hidden_NLD: Tensor) -> bool:
    if not isinstance(output, Tensor) or output.shape[-1:] != hidden_NLD.shape[-1:]:
        return False
    first_ND = output.reshape(len(output), -1, output.shape[-1])[:, 0]
    return first_ND.shape == hidden_NLD[:, 0].shape and torch.allclose(first_ND, hidden_NLD[:, 0], atol=1e-5)


@check("the first blocks, then the others, to be the whole encoder", SPEC + ".first_blocks")
def blocks_in_two_parts(case: Case) -> Findings:
    if case.spec.first_blocks is None or case.tune != "lora":
        return
    backbone = case.backbone().eval()
    n_blocks = len(case.spec.lora_targets(backbone))
    with torch.no_grad():
        tokens = case.tokens_of(backbone)
        whole_NLD = case.spec.encoder(backbone, tokens)
        for count in sorted({1, max(1, n_blocks - 1)}):
            begun = case.spec.first_blocks(backbone, tokens, count)
            if not far(tokens.hidden_NLD, begun.hidden_NLD, 1e-6):
                yield f"{count} of {n_blocks} blocks leave the hidden states as they were"
            if distance := far(whole_NLD, case.spec.encoder(backbone, begun)):
                yield f"what the encoder gives after {count} of {n_blocks} blocks differs by {distance:.2g}"
            if case.spec.skip_blocks is None:
                continue
            given = replace(tokens, hidden_NLD=begun.hidden_NLD)
            skipped_NLD = case.spec.encoder(backbone, case.spec.skip_blocks(backbone, given, count))
            if distance := far(whole_NLD, skipped_NLD):
                yield f"what the encoder gives where {count} blocks are skipped differs by {distance:.2g}"


@check(
    "a frozen backbone to hold the same buffers after passes in training mode: no checkpoint saves them",
    SPEC + ".backbone",
)
def buffers_kept(case: Case) -> Findings:
    if case.tune == "full":
        return
    branch = case.branch().train()
    before = {name: tensor.clone() for name, tensor in _saved(branch.backbone).items()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for _ in range(2):
            branch(case.inputs)
    after = _saved(branch.backbone)
    if changed := [name for name in before if name not in after or not torch.equal(before[name], after[name])]:
        yield (
            f"training passes change {changed[0]}, so that a model that is loaded is not the one that was "
            "trained; keep what writes it in evaluation mode"
        )


def _saved(backbone: nn.Module) -> dict[str, Tensor]:
    """The buffers that a state dict has: others are caches."""
    state = backbone.state_dict(keep_vars=True)
    return {name: buffer for name, buffer in backbone.named_buffers() if name in state}


@check("a share key, if there is one, that tells checkpoints apart", SPEC + ".share_key")
def sharing(case: Case) -> Findings:
    if case.spec.share_key is None or case.tune != "lora":
        return
    key = case.spec.share_key(case.chosen)
    texts = [n for n, v in case.chosen if isinstance(v, str) and n != "kind"]
    if key is None or not texts:
        return
    others = (case.chosen.model_copy(update={name: f"{getattr(case.chosen, name)}-other"}) for name in texts)
    if all(case.spec.share_key(other) == key for other in others):
        yield (
            f"it is {key!r} whatever {' and '.join(texts)} say: two checkpoints would become one; leave it "
            "out, u2a tells checkpoints by their weights"
        )
