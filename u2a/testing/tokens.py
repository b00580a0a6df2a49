"""Conformance checks of a modality's backbone, embedding and encoder, and of its mask tokens.

Shape suffixes as in `u2a.modality`.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from u2a.contract.modality import Inputs, Tokens
from u2a.method.adapters import PROJECTIONS
from u2a.method.branch import UnimodalBranch
from u2a.method.model import U2A
from u2a.runs.checkpoint import learnable, load_adapter, save_checkpoint
from u2a.testing.case import Case, Findings, check
from u2a.testing.compare import far

ENCODER = "u2a/modality.py, Encoder"
EMBEDDING = "u2a/modality.py, Tokens and Embedding"
SPEC = "u2a/modality.py, ModalitySpec"
TARGETS = "u2a/modality.py, ModalitySpec.lora_targets"


@check("Tokens of the spec's width, right-padded, with class positions that are real tokens", EMBEDDING)
def token_shapes(case: Case) -> Findings:
    tokens, P = case.tokens, len(case.members)
    N, L, D = tokens.hidden_NLD.shape
    if case.spec.width(case.chosen) != D:
        yield f"width {D}, but spec.width says {case.spec.width(case.chosen)}"
    if not tokens.hidden_NLD.is_floating_point():
        yield f"hidden_NLD is {tokens.hidden_NLD.dtype}"
    if (N if tokens.rows_P is None else len(tokens.rows_P)) != P:
        yield f"{P} samples gave {N} rows, rows_P {tokens.rows_P}"
    places = class_places(tokens)
    if not places or not all(0 <= place < L for place in places):
        yield f"class positions {tokens.cls} among {L} tokens"
    if tokens.valid_NL is not None:
        yield from _validity(tokens)


def class_places(tokens: Tokens) -> list[int]:
    """All positions that are a class token of some row; the first where there is none."""
    if isinstance(tokens.cls, Tensor):
        return tokens.cls.tolist()
    L = tokens.hidden_NLD.shape[1]
    return [place + L if place < 0 else place for place in (tokens.cls or (0,))] if tokens.cls != () else []


def _of_cls(tokens: Tokens, x_NL: Tensor) -> Tensor:
    """What stands at the class positions, of every row."""
    if isinstance(tokens.cls, Tensor):
        return x_NL.gather(1, tokens.cls[:, None])
    return x_NL[:, class_places(tokens)]


def _validity(tokens: Tokens) -> Findings:
    valid_NL = tokens.valid_NL
    assert valid_NL is not None
    if valid_NL.dtype != torch.bool or valid_NL.shape != tokens.hidden_NLD.shape[:2]:
        yield f"valid_NL is {valid_NL.dtype} {tuple(valid_NL.shape)}"
    elif (valid_NL[:, 1:] & ~valid_NL[:, :-1]).any():
        yield "padding stands before real tokens"
    elif not _of_cls(tokens, valid_NL).all():
        yield "a class position is padding"


@check("four adapted nn.Linear a block: query, key, value, attention output", TARGETS)
def lora_count(case: Case) -> Findings:
    if case.tune != "lora":
        return
    branch = case.branch()
    wanted = 2 * len(PROJECTIONS) * len(branch.targets)
    adapters = [name for name, _ in branch.learnable() if name.startswith("blocks.")]
    trained = sum(p.requires_grad for p in branch.backbone.parameters())
    if len(adapters) != wanted or trained != wanted:
        yield f"{len(adapters)} LoRA tensors and {trained} trained ones, not {wanted}"


@check("hidden states of every position given, mask tokens last, all finite", ENCODER)
def hidden_shapes(case: Case) -> Findings:
    for n_mask_tokens in (1, 2):
        cls_PD, mask_PKD = _encode(case.branch(n_mask_tokens=n_mask_tokens), case.inputs)
        P, D = len(case.members), case.spec.width(case.chosen)
        if cls_PD.shape != (P, D) or mask_PKD.shape != (P, n_mask_tokens, D):
            yield f"class tokens {tuple(cls_PD.shape)}, mask tokens {tuple(mask_PKD.shape)}"
        if not (cls_PD.isfinite().all() and mask_PKD.isfinite().all()):
            yield "outputs are not finite"


@check("equal outputs from equal seeds; in evaluation mode no randomness at all", ENCODER)
def deterministic_outputs(case: Case) -> Findings:
    branch = case.branch()
    for training in (False, True):
        branch.train(training)
        first, second = (
            _encode(branch, case.inputs, seed=seed)[0] for seed in ((4, 4) if training else (4, 5))
        )
        if far(first, second, 1e-6):
            yield f"two runs in {'training' if training else 'evaluation'} mode differ"


@check("a backbone that runs in bfloat16 as well", SPEC)
def bfloat16(case: Case) -> Findings:
    branch = case.branch(case.backbone().bfloat16() if case.tune != "full" else None)
    with torch.autocast("cpu", torch.bfloat16):
        cls_PD, mask_PKD = _encode(branch, case.inputs)
    if not (cls_PD.isfinite().all() and mask_PKD.isfinite().all()):
        yield "outputs are not finite"


@check(
    "the last position to be the mask token: read there, seen by the class token, different by sample", ENCODER
)
def mask_token(case: Case) -> Findings:
    branch = case.branch()
    cls_PD, mask_PKD = _encode(branch, case.inputs)
    if equal_rows(mask_PKD[:, 0]):
        yield "the mask token's output is the same for different samples, as if it attended to nothing"
    perturb(branch.mask_tokens_KD)
    other_cls_PD, other_mask_PKD = _encode(branch, case.inputs)
    if not far(mask_PKD, other_mask_PKD, 1e-5):
        yield "another mask token leaves the last position's output as it was"
    if not far(cls_PD, other_cls_PD, 1e-6):
        yield "another mask token leaves the class token as it was, as if it were masked out"


@check("mask tokens without position embedding: two that change places change outputs with each other", ENCODER)
def mask_token_positions(case: Case) -> Findings:
    branch = case.branch(n_mask_tokens=2)
    perturb(branch.mask_tokens_KD)
    cls_PD, mask_PKD = _encode(branch, case.inputs)
    with torch.no_grad():
        branch.mask_tokens_KD.copy_(branch.mask_tokens_KD.flip(0))
    other_cls_PD, other_mask_PKD = _encode(branch, case.inputs)
    if (d := far(mask_PKD, other_mask_PKD.flip(1))) or (d := far(cls_PD, other_cls_PD)):
        yield f"outputs differ by {d:.2g} when two mask tokens swap places"


@check("nothing that stands in padded positions to change a class or mask token", ENCODER)
def padding(case: Case) -> Findings:
    valid_NL, branch = case.tokens.valid_NL, case.branch()
    if valid_NL is None:
        return
    if valid_NL.all():
        yield "no member needed padding: give the case members of different lengths"
        return
    with torch.no_grad():
        tokens = branch._append_mask_tokens(case.spec.embedding(branch.backbone, case.inputs))
        assert tokens.valid_NL is not None
        noise_NLD = torch.full_like(tokens.hidden_NLD, 37.0)
        noisy = replace(tokens, hidden_NLD=tokens.hidden_NLD.where(tokens.valid_NL[..., None], noise_NLD))
        first_NLD, second_NLD = (case.spec.encoder(branch.backbone, one) for one in (tokens, noisy))
    if distance := far(first_NLD[tokens.valid_NL], second_NLD[tokens.valid_NL]):
        yield f"real tokens change by {distance:.2g} with the content of the padding"


@check(
    "a sample's output not to depend on its companions in the batch", "u2a/modality.py, Preprocessor.collate"
)
def batches(case: Case) -> Findings:
    branch, examples = case.branch(), case.examples()
    cls_PD, mask_PKD = _encode(branch, case.inputs)
    turned = _encode(branch, case.preprocessor.collate(examples[::-1]))
    if distance := far(cls_PD, turned[0].flip(0)) or far(mask_PKD, turned[1].flip(0)):
        yield f"outputs differ by {distance:.2g} when the batch is turned round"
    for p, example in enumerate(examples):
        alone_cls_PD, alone_mask_PKD = _encode(branch, case.preprocessor.collate([example]))
        if distance := far(cls_PD[p], alone_cls_PD[0]) or far(mask_PKD[p], alone_mask_PKD[0]):
            yield f"member {p} alone differs by {distance:.2g} from the same member in the batch"
    if equal_rows(cls_PD):
        yield "the class token is the same for different members"


@check("samples without the modality to be left out: the present ones are encoded as ever", "U2A.encode")
def missing_samples(case: Case) -> Findings:
    model = _model(case)
    examples = case.examples()[:2]
    whole = case.preprocessor.collate(examples)
    present_BM = torch.tensor([[True, False], [True, True]])
    second = case.preprocessor.collate(examples[1:])
    with torch.no_grad():
        complete = model({"first": whole, "second": whole}, torch.ones(2, 2, dtype=torch.bool))
        partial = model({"first": whole, "second": second}, present_BM)
        absent = model({"first": whole}, torch.tensor([[True, False]] * 2))
    if not (partial.logits_BC.isfinite().all() and absent.logits_BC.isfinite().all()):
        yield "scores are not finite"
    if distance := far(partial.cls_BMD[present_BM], complete.cls_BMD[present_BM]):
        yield f"class tokens of present samples change by {distance:.2g}"


@check("all that was learned to come back from a checkpoint", "u2a/checkpoint.py, load_adapter")
def save_and_load(case: Case) -> Findings:
    model, fresh = _model(case), _model(case, seed=9)
    for _, parameter in learnable(model):
        perturb(parameter, 0.1)
    meta = {"modalities": {branch.name: {"base": branch.base} for branch in model.branches}}
    optimizer = torch.optim.AdamW([p for _, p in learnable(model)])
    with tempfile.TemporaryDirectory() as folder:
        load_adapter(save_checkpoint(Path(folder), 1, model, optimizer, meta, best=True), fresh)
    present_BM = torch.ones(len(case.members), 2, dtype=torch.bool)
    inputs = {"first": case.inputs, "second": case.inputs}
    with torch.no_grad():
        if distance := far(model(inputs, present_BM).logits_BC, fresh(inputs, present_BM).logits_BC, 1e-5):
            yield f"scores differ by {distance:.2g} after saving and loading"


def _model(case: Case, seed: int = 0) -> U2A:
    """Two modalities of the kind under test."""
    branches = [case.branch(name=name, seed=seed + n) for n, name in enumerate(("first", "second"))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return U2A(branches, case.spec.width(case.chosen), 3, "fp32").eval()


def _encode(branch: UnimodalBranch, inputs: Inputs, seed: int = 0) -> tuple[Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        read = branch(inputs)
        return read.cls_PH, read.mask_PKH


def perturb(parameter: nn.Parameter, scale: float = 1.0) -> None:
    noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        parameter.add_(noise.to(parameter.dtype), alpha=scale)


def equal_rows(x_PD: Tensor) -> bool:
    return len(x_PD) > 1 and not far(x_PD[1:], x_PD[:1].expand_as(x_PD[1:]), 1e-6)
