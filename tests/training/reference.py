"""The method, to be read and run: U2A's training in plain torch, from the paper's equations.

Nothing of u2a is imported. Samples are computed one at a time, so that there is no padding, no batching and no
attention mask to get wrong; a global batch is a list of samples, whoever computes it in however many parts.
The encoder is the small transformer of `tiny_plugin.py`, whose frozen weights come with it.

Where the paper leaves something open (more than two modalities, frames, several class tokens, what a mean is
taken over), this says how u2a decides it. Shape suffixes: C classes, D width, K mask tokens of a modality,
L tokens.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCKS, HEADS, LETTERS = 2, 2, 32
PROJECTIONS = ("q", "k", "v", "o")


@dataclass(frozen=True)
class Modality:
    """One pretrained encoder: its frozen tensors, and how its tokens are to be read."""

    width: int
    frozen: Mapping[str, Tensor]
    class_tokens: int = 1
    frames: bool = False
    dropout: float = 0.0
    whole: bool = False  # trained whole, from these tensors on, without low-rank updates

    def rows(self, text: str) -> list[str]:
        """The frames of a sample; anything but a film is one row."""
        return text.split("|") if self.frames else [text]


@dataclass(frozen=True)
class Method:
    """Everything that the paper or its user chooses."""

    modalities: Mapping[str, Modality]
    seed: int
    n_steps: int
    warm_steps: int
    width: int
    multi_label: bool
    per_target: bool
    lora_rank: int
    lora_alpha: float
    lora_dropout: float
    adapt_blocks: int  # of the last blocks: those below are frozen, without dropout and without mask tokens
    lr: float
    power: float
    weight_decay: float
    eps: float
    clip_norm: float | None
    alignment_weight: float
    detach_target: bool
    modality_dropout: str  # off, random or exhaustive
    lr_factors: Mapping[str, float]  # by part: lora, encoder, mask_tokens, projection, proxies, head
    per_modality: bool = False  # instead of the paper's sum: standardised read-outs, a head for each modality
    statistics: Mapping[str, Tensor] = field(default_factory=dict)  # with it, what the head start has measured
    balanced: Sequence[tuple[int, ...]] | None = None  # all training samples' labels, where classes count alike


@dataclass(frozen=True)
class Sample:
    """What is there of a sample (a missing modality is an absent key), and its classes."""

    inputs: Mapping[str, str]
    labels: tuple[int, ...]


@dataclass
class Step:
    """What one optimizer step computed; `gradients` are the clipped ones, without tensors that have none."""

    losses: dict[str, float]
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor] = field(default_factory=dict)


Learned = Mapping[str, Tensor]
Site = Callable[[int, str, Tensor], Tensor]
"""Dropout in one row: block, place (q, k, v, o: the LoRA input; own: the encoder's) and tensor [L, D]."""


# --- eqs. 1 to 3: one modality of one sample ------------------------------------------------------------------


Offer = tuple[Tensor, Mapping[str, Tensor]]
"""A modality's class token [D] and, for each other one, what it offers in place of that one's [D]."""


def encode(method: Method, name: str, text: str, learned: Learned, sites: Sequence[Site]) -> Offer:
    """One sample's modality: the mean over its rows, then the projection."""
    modality = method.modalities[name]
    rows = zip(modality.rows(text), sites, strict=True)
    read = zip(*(_encode_row(method, name, row, learned, site) for row, site in rows), strict=True)
    cls_D, mean_D, mask_KD = (torch.stack(tokens).mean(0) for tokens in read)
    if method.per_modality:
        return read_out(method, name, cls_D, mean_D, mask_KD, learned)
    if modality.width != method.width:  # one bias-free linear for both; equal widths need none
        W = learned[f"{name}.projection.weight"]
        cls_D, mask_KD = W @ cls_D, mask_KD @ W.T
    return cls_D, mask_token_of_each_target(method, name, mask_KD)


def mask_token_of_each_target(method: Method, name: str, mask_KD: Tensor) -> dict[str, Tensor]:
    """The only mask token, or the one that is its own for each other modality, in recipe order."""
    others = [other for other in method.modalities if other != name]
    return {other: mask_KD[k if method.per_target else 0] for k, other in enumerate(others)}


def read_out(
    method: Method, name: str, cls_H: Tensor, mean_H: Tensor, mask_KH: Tensor, learned: Learned
) -> Offer:
    """Beyond the paper: class and mean token side by side, standardised, of one length; low-rank maps."""
    D = 2 * max(modality.width for modality in method.modalities.values())

    def standard(kind: str, x: Tensor, square: int) -> Tensor:
        mean, scale = (method.statistics[f"read_outs.{kind}.{name}.{what}"] for what in ("mean", "scale"))
        z = (x - mean) * scale
        return z * math.sqrt(square) / z.square().sum(-1, keepdim=True).sqrt()

    def padded(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(D - len(x))])

    read_D, offers = padded(standard("scales", torch.cat([cls_H, mean_H]), D)), {}
    K = len(mask_KH)
    for other, k in mask_token_of_each_target(method, name, torch.arange(K)).items():
        offers[other] = torch.zeros(D, dtype=torch.double)
        if f"read_outs.proxies.{name}_to_{other}.encode.weight" in learned:
            source_KS = torch.stack([torch.cat([mask_H, cls_H, mean_H]) for mask_H in mask_KH])
            code, back = (
                learned[f"read_outs.proxies.{name}_to_{other}.{half}.weight"] for half in ("encode", "decode")
            )
            offers[other] = padded(back @ (code @ standard("sources", source_KS, source_KS.shape[1])[int(k)]))
    return read_D, offers


def _encode_row(
    method: Method, name: str, row: str, learned: Learned, site: Site
) -> tuple[Tensor, Tensor, Tensor]:
    """Class token [D], mean of the row's tokens [D] and mask tokens [K, D]."""
    modality, frozen = method.modalities[name], weights_of(method, name, learned)
    own = frozen["class_tokens"][: modality.class_tokens]
    tokens = torch.cat([own, frozen["letters"][[ord(c) % LETTERS for c in row]]])  # eq. 1
    tokens = tokens + frozen["positions"][: len(tokens)]
    h_LD, first = tokens, first_adapted(method, name)

    def project(b: int, letter: str, x_LD: Tensor) -> Tensor:
        """A frozen projection and its low-rank update, alpha / rank times."""
        own = x_LD @ frozen[f"{b}.{letter}.weight"].T + frozen[f"{b}.{letter}.bias"]
        if modality.whole or b < first:
            return own
        A, B = (learned[f"{name}.blocks.{b:02d}.{letter}.lora_{half}"] for half in "AB")
        return own + site(b, letter, x_LD) @ A.T @ B.T * (method.lora_alpha / method.lora_rank)

    for b in range(BLOCKS):  # eq. 3
        if b == first:  # eq. 2: last, and without a position
            h_LD = torch.cat([h_LD, learned[f"{name}.mask_tokens"]])
        x_LD = _norm(h_LD)
        q, k, v = (project(b, letter, x_LD).chunk(HEADS, -1) for letter in "qkv")
        size = modality.width // HEADS
        context = [(q[i] @ k[i].T / size**0.5).softmax(-1) @ v[i] for i in range(HEADS)]
        h_LD = h_LD + site(b, "own", project(b, "o", torch.cat(context, -1)))
        h_LD = h_LD + (_norm(h_LD) @ frozen[f"{b}.mlp.weight"].T + frozen[f"{b}.mlp.bias"]).tanh()
    h_LD = _norm(h_LD)  # the final norm, for class and mask tokens alike
    n_cls = modality.class_tokens or len(tokens)
    return h_LD[:n_cls].mean(0), h_LD[: len(tokens)].mean(0), h_LD[len(tokens) :]


def first_adapted(method: Method, name: str) -> int:
    """The block at which mask tokens and low-rank updates enter; of a network trained whole the first."""
    return 0 if method.modalities[name].whole else max(0, BLOCKS - method.adapt_blocks)


def weights_of(method: Method, name: str, learned: Learned) -> Mapping[str, Tensor]:
    """The encoder's tensors: the pretrained ones, or what has become of them where it is trained whole."""
    modality = method.modalities[name]
    if not modality.whole:
        return modality.frozen
    return {n: learned[f"{name}.backbone.{place_of(n)}"] for n in modality.frozen}


def place_of(name: str) -> str:
    """What the network calls one of the pretrained tensors."""
    whole = {"letters": "letters.weight", "class_tokens": name, "positions": name}
    return whole.get(name, f"blocks.{name}")


def _norm(x_LD: Tensor) -> Tensor:
    centred = x_LD - x_LD.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()


# --- eqs. 4 to 7: selection, fusion, losses ------------------------------------------------------------------

Encoded = Mapping[str, Offer]
"""A sample after the encoders: what each modality that it has says."""


def logits(method: Method, encoded: Encoded, learned: Learned) -> Tensor:
    """Eqs. 4 and 5: a missing class token is the mean of what the present modalities offer; sum; head."""
    selected = []
    for j in method.modalities:
        if j in encoded:
            selected.append(encoded[j][0])
        else:
            gate = method.statistics["read_outs.gate"] if method.per_modality else 1
            selected.append(torch.stack([encoded[i][1][j] * gate for i in encoded]).mean(0))
    if method.per_modality:  # weights of their own for each modality
        D, total = len(selected[0]), learned["head.bias"]
        for name, x_D in zip(method.modalities, selected, strict=True):
            W = learned[f"head.weights.{name}"]
            total = total + W @ x_D[: W.shape[1]] / D**0.5
        return total
    return learned["head.weight"] @ torch.stack(selected).sum(0) + learned["head.bias"]


def task_loss(method: Method, logits_C: Tensor, labels: tuple[int, ...]) -> Tensor:
    """Cross entropy, or the mean over the classes of each one's binary cross entropy; classes may be balanced.

    Balanced, a sample counts N over C times the samples of its class; a label that is there N over twice those
    that have it, one that is not N over twice those that do not.
    """
    n = len(method.balanced or ())
    having = [sum(c in one for one in method.balanced or ()) for c in range(len(logits_C))]
    if not method.multi_label:
        loss = logits_C.logsumexp(0) - logits_C[labels[0]]
        return loss * n / (len(logits_C) * having[labels[0]]) if method.balanced else loss
    target_C = torch.tensor([float(c in labels) for c in range(len(logits_C))], dtype=logits_C.dtype)
    p_C = logits_C.sigmoid()
    yes_C, no_C = torch.ones_like(p_C), torch.ones_like(p_C)
    if method.balanced:
        yes_C = torch.tensor([n / (2 * k) for k in having], dtype=p_C.dtype)
        no_C = torch.tensor([n / (2 * (n - k)) for k in having], dtype=p_C.dtype)
    return -(yes_C * target_C * p_C.log() + no_C * (1 - target_C) * (1 - p_C).log()).mean()


def alignment_loss(method: Method, batch: Sequence[Encoded]) -> Tensor:
    """Eq. 6 over all ordered pairs: each pair's mean over the samples that have both, times 2 / (M (M - 1))."""
    M, total = len(method.modalities), torch.zeros((), dtype=torch.double)
    for i, j in itertools.permutations(method.modalities, 2):
        errors = []
        for encoded in batch:
            if i in encoded and j in encoded:
                target_D = encoded[j][0].detach() if method.detach_target else encoded[j][0]
                errors.append((encoded[i][1][j] - target_D).square().mean())
        if errors:
            total = total + torch.stack(errors).mean() * 2 / (M * (M - 1))
    return total


def losses(
    method: Method, batch: Sequence[Encoded], labels: Sequence[tuple[int, ...]], learned: Learned
) -> dict[str, Tensor]:
    """Eq. 7 over the global batch."""
    each = []
    for encoded, wanted in zip(batch, labels, strict=True):
        kept = [encoded]
        if method.modality_dropout == "exhaustive":  # every non-empty part of what the sample has
            sizes = range(1, len(encoded) + 1)
            kept = [{m: encoded[m] for m in part} for n in sizes for part in itertools.combinations(encoded, n)]
        of_each = [task_loss(method, logits(method, part, learned), wanted) for part in kept]
        each.append(torch.stack(of_each).mean())
    task, alignment = torch.stack(each).mean(), alignment_loss(method, batch)
    total = task + method.alignment_weight * alignment
    if method.per_modality:  # the head start's ridge goes on
        for name, decay in zip(method.modalities, method.statistics["head.decay_M"], strict=True):
            total = total + decay * learned[f"head.weights.{name}"].square().sum()
    return {"task_loss": task, "alignment_loss": alignment, "loss": total}


# --- what is drawn: from the seed, and from what it is drawn for ---------------------------------------------


def seed_for(*parts: object) -> int:
    """63 bits of the SHA-256 of the parts' text: the same on every machine, in every process."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def drop_modalities(method: Method, t: int, samples: Sequence[Sample]) -> list[Sample]:
    """Modality dropout, one draw a step: all with probability 1/3, else any proper part, each as likely."""
    names = list(method.modalities)
    draw, everything = random.Random(seed_for("modality dropout", method.seed, t)), 2 ** len(names) - 1
    if method.modality_dropout != "random" or len(names) == 1 or draw.random() < 1 / 3:
        return list(samples)
    subset = draw.randrange(1, everything)
    kept = [name for m, name in enumerate(names) if subset >> m & 1]
    left = [Sample({m: x for m, x in s.inputs.items() if m in kept}, s.labels) for s in samples]
    return [after if after.inputs else before for before, after in zip(samples, left, strict=True)]


def draw_sites(method: Method, name: str, texts: Sequence[str]) -> list[list[Site]]:
    """Dropout of a modality's rows in one micro-batch, for each sample and row.

    The masks come from torch's generator in the order and shapes in which an encoder asks for them: rows of
    equal length, with the padding between a row's last token and its mask tokens.
    """
    modality = method.modalities[name]
    K = len(method.modalities) - 1 if method.per_target and len(method.modalities) > 1 else 1
    lengths = [modality.class_tokens + len(row) for text in texts for row in modality.rows(text)]
    longest = max(lengths)
    first = first_adapted(method, name)
    masks = {}
    for b in range(first, BLOCKS):
        for place in (*PROJECTIONS, "own"):
            p = modality.dropout if place == "own" else 0.0 if modality.whole else method.lora_dropout
            ones = torch.ones(len(lengths), longest + K, modality.width, dtype=torch.double)
            masks[b, place] = F.dropout(ones, p) if p else ones

    def site(n: int) -> Site:
        where = [*range(lengths[n]), *range(longest, longest + K)]
        return lambda b, place, x_LD: x_LD * masks[b, place][n, where] if b >= first else x_LD

    counter = itertools.count()
    return [[site(next(counter)) for _ in modality.rows(text)] for text in texts]


def no_dropout(b: int, place: str, x_LD: Tensor) -> Tensor:
    """Evaluation's site."""
    return x_LD


# --- training ------------------------------------------------------------------------------------------------


def encode_samples(
    method: Method, samples: Sequence[Sample], learned: Learned, *, train: bool
) -> list[Encoded]:
    """One micro-batch: each modality of those samples that have it, in recipe order."""
    encoded: list[dict[str, Offer]] = [{} for _ in samples]
    for name, modality in method.modalities.items():
        having = [i for i, sample in enumerate(samples) if name in sample.inputs]
        if not having:
            continue
        texts = [samples[i].inputs[name] for i in having]
        sites = [[no_dropout for _ in modality.rows(text)] for text in texts]
        if train:
            sites = draw_sites(method, name, texts)
        for i, text, own in zip(having, texts, sites, strict=True):
            encoded[i][name] = encode(method, name, text, learned, own)
    return encoded


def predict(method: Method, samples: Sequence[Sample], learned: Learned) -> list[Tensor]:
    """Evaluation: logits of samples with whatever they have, nothing drawn."""
    return [logits(method, one, learned) for one in encode_samples(method, samples, learned, train=False)]


def learning_rate(method: Method, t: int) -> float:
    """Warm-up at a tenth; then polynomial decay to nothing at the last step."""
    if t < method.warm_steps:
        return 0.1 * method.lr
    return method.lr * (1 - (t - method.warm_steps) / (method.n_steps - method.warm_steps)) ** method.power


def factor_of(method: Method, name: str) -> float:
    """How fast a tensor learns, relative to the learning rate: that of the part that it belongs to."""
    parts = {"mask_tokens": "mask_tokens", "projection.weight": "projection"}
    first, rest = name.split(".", 1)
    encoder = "encoder" if rest.startswith("backbone.") else "lora"
    part = {"read_outs": "proxies", "head": "head"}.get(first) or parts.get(rest, encoder)
    return method.lr_factors[part]


def train(
    method: Method, given: Sequence[Sequence[Sequence[Sequence[Sample]]]], initial: Mapping[str, Tensor]
) -> list[Step]:
    """Optimizer steps over global batches, each given as every process's micro-batches.

    Who computes which part decides what dropout draws and nothing else. A tensor that no part of a global batch
    uses has no gradient and stays as it is, weight decay included.
    """
    weights = {name: tensor.clone() for name, tensor in initial.items()}
    first, second, updates = (dict.fromkeys(weights, 0.0) for _ in range(3))
    steps = []
    for t, processes in enumerate(given):
        learned = {name: tensor.requires_grad_() for name, tensor in weights.items()}
        kept = drop_modalities(method, t, [sample for parts in processes for part in parts for sample in part])
        encoded: list[Encoded] = []
        for rank, parts in enumerate(processes):
            torch.manual_seed(seed_for("step", method.seed, t, rank))
            for part in parts:
                these = kept[len(encoded) : len(encoded) + len(part)]
                encoded += encode_samples(method, these, learned, train=True)
        found = losses(method, encoded, [sample.labels for sample in kept], learned)
        tensors = torch.autograd.grad(found["loss"], list(learned.values()), allow_unused=True)
        gradients = {n: g for n, g in zip(learned, tensors, strict=True) if g is not None}
        norm = torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()
        if method.clip_norm is not None:
            factor = min(1.0, method.clip_norm / (float(norm) + 1e-6))
            gradients = {name: g * factor for name, g in gradients.items()}
        lr = learning_rate(method, t)
        with torch.no_grad():  # AdamW
            weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
            for name, g in gradients.items():
                updates[name] += 1
                first[name] = 0.9 * first[name] + 0.1 * g
                second[name] = 0.999 * second[name] + 0.001 * g.square()
                mean, square = (
                    first[name] / (1 - 0.9 ** updates[name]),
                    second[name] / (1 - 0.999 ** updates[name]),
                )
                own_lr = lr * factor_of(method, name)
                weights[name] = weights[name] * (1 - own_lr * method.weight_decay)
                weights[name] -= own_lr * mean / (square.sqrt() + method.eps)
        values = {name: float(loss.detach()) for name, loss in found.items()}
        steps.append(Step({**values, "lr": lr, "grad_norm": float(norm)}, gradients, weights))
    return steps
