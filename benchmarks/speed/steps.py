"""Training steps and passes without gradients, beside the bare encoders."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.models import (
    CLASSES,
    Bare,
    Encoder,
    Inputs,
    Ours,
    ast,
    bert_base,
    clip_base,
    dinov2_small,
    minilm,
    plain,
)
from benchmarks.speed.timing import Row, beside
from u2a.common.distributed import World
from u2a.data.feeding.alone import Alone
from u2a.data.feeding.batches import Batch
from u2a.data.feeding.lengths import grouped
from u2a.training.frozen_blocks import FrozenBlocks

PAIR = "DINOv2 small 112 px + MiniLM L6, batch 16"
PAPER = ("model.fusion=sum", "training.modality_dropout=off", "training.head_start=false")


def rows(folder: Path, *, full: bool) -> Iterator[Row]:
    """All of them; `full` adds the encoders of the paper."""
    yield from _pair(folder / "pair", [dinov2_small(), minilm()], PAIR, 16)
    if full:
        yield from _pair(folder / "ast-clip", [ast(), clip_base()], "AST (512 frames) + CLIP ViT-B, batch 2", 2)
        yield from _pair(folder / "clip-bert", [clip_base(), bert_base()], "CLIP ViT-B + BERT base, batch 4", 4)
    yield from _inference(folder / "pair")
    yield from _blocks(folder / "deep")
    yield from _missing(folder / "pair")
    yield from _lengths(folder / "pair")


def _given(encoders: list[Encoder], n: int) -> tuple[list[Inputs], torch.Tensor]:
    torch.manual_seed(1)
    return [encoder.inputs(n) for encoder in encoders], torch.randint(0, len(CLASSES), (n,))


def _pair(folder: Path, encoders: list[Encoder], name: str, n: int) -> Iterator[Row]:
    folder.mkdir()
    inputs, target = _given(encoders, n)
    for precision in ("fp32", "bf16"):
        ours = Ours(encoders, folder, *PAPER, f"training.precision={precision}", "model.lora_rank=1")
        bare = Bare(encoders, folder, rank=1, bf16=precision == "bf16")
        named = ours.named(inputs)
        yield beside(
            f"training step, {precision}: {name}",
            lambda ours=ours, named=named: ours.step(named, target),
            "the encoders with bare peft LoRA",
            lambda bare=bare: bare.step(inputs, target),
            "<= 1.02",
        )
        if precision == "fp32":
            default = Ours(encoders, folder)
            yield beside(
                f"the same by default (exhaustive dropout, proxies): {name}",
                lambda default=default, named=named: default.step(named, target),
                "complete step of the paper's setting",
                lambda ours=ours, named=named: ours.step(named, target),
                "<= 1.02",
            )


def _inference(folder: Path) -> Iterator[Row]:
    encoders = [dinov2_small(), minilm()]
    inputs, _ = _given(encoders, 32)
    model, bare = Ours(encoders, folder).model.eval(), plain(encoders, folder)
    named, present_BM = dict(zip(model.names, inputs, strict=True)), torch.ones(32, 2, dtype=torch.bool)

    def encode() -> None:
        with torch.inference_mode():
            model.encode(named, present_BM)

    yield beside("evaluation, adapters beside the weights", encode, "bare encoders", lambda: bare(inputs), "")
    model.merge_lora()
    yield beside(
        "evaluation, prediction, head start (adapters merged)",
        encode,
        "bare encoders",
        lambda: bare(inputs),
        "<= 1.02",
    )


def _blocks(folder: Path) -> Iterator[Row]:
    folder.mkdir()
    encoders = [dinov2_small(blocks=12), minilm(blocks=12, length=65)]
    inputs, target = _given(encoders, 16)
    whole, last = Ours(encoders, folder), Ours(encoders, folder, "model.adapt_blocks=4")
    named = whole.named(inputs)
    yield beside(
        "step with adapt_blocks = 4 of 12",
        lambda: last.step(named, target),
        "all blocks",
        lambda: whole.step(named, target),
        ">= 1.7 x faster",
        faster=True,
    )
    yield from _kept(folder, encoders, whole, named)


class _Steady:
    """Data that no augmentation changes."""

    def is_steady(self, name: str) -> bool:
        return True


def _kept(folder: Path, encoders: list[Encoder], whole: Ours, named: dict[str, Inputs]) -> Iterator[Row]:
    """The step from the second epoch on, with what the frozen blocks gave read from the disk."""
    sets = ("model.adapt_blocks=4", "training.frozen_cache_gb=1")
    last = Ours(encoders, folder, *sets)
    target = torch.randint(0, len(CLASSES), (16,))
    alone = {
        name: tuple(Alone.of({key: x[i : i + 1] for key, x in one.items()}) for i in range(16))
        for name, one in named.items()
    }
    present_BM = torch.ones(16, 2, dtype=torch.bool)
    batch = Batch(named, present_BM, target, ("",) * 16, torch.arange(16), alone=alone)
    place = World(0, 1, 0, 1, torch.device("cpu"))
    frozen = FrozenBlocks(last.recipe, last.model, _Steady(), folder, place)
    frozen.prepare(batch)
    yield beside(
        "step with adapt_blocks = 4 of 12, outputs of frozen blocks kept",
        lambda: last.step(frozen.prepare(batch).inputs, target),
        "all blocks",
        lambda: whole.step(named, target),
        ">= 2.5 x faster",
        faster=True,
    )


def _missing(folder: Path) -> Iterator[Row]:
    encoders = [dinov2_small(), minilm()]
    inputs, target = _given(encoders, 16)
    ours = Ours(encoders, folder)
    lacking = np.random.default_rng(0).permutation(16)
    present_BM = torch.ones(16, 2, dtype=torch.bool)
    present_BM[lacking[:6], 0], present_BM[lacking[6:11], 1] = False, False  # 70 % lack one of the two
    some = [{key: value[present_BM[:, m]] for key, value in one.items()} for m, one in enumerate(inputs)]
    yield beside(
        "step where 70 % of the samples lack one of two modalities",
        lambda: ours.step(ours.named(some), target, present_BM),
        "complete data",
        lambda: ours.step(ours.named(inputs), target),
        "<= 0.70",
    )


def _lengths(folder: Path) -> Iterator[Row]:
    """Texts as long as those of movies, cut at 128; four batches of sixteen, as long as all in the mean."""
    draw = np.random.default_rng(0)
    length_N = np.clip(draw.lognormal(3.95, 0.75, 256), 8, 128).round()
    order = draw.permutation(256)
    by_length = _as_long_as_all(grouped(order, length_N, 16, np.array([256]), draw), length_N)
    order = _as_long_as_all(order, length_N)
    encoders = [dinov2_small(), minilm()]
    ours = Ours(encoders, folder)
    torch.manual_seed(1)
    pictures, target = encoders[0].inputs(16), torch.randint(0, len(CLASSES), (16,))

    def steps(places: np.ndarray) -> None:
        for start in range(0, 64, 16):
            lengths = torch.from_numpy(length_N[places[start : start + 16]]).long()
            mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
            texts = {"input_ids": torch.randint(5, 1000, mask.shape), "attention_mask": mask}
            ours.step(ours.named([pictures, texts]), target)

    name = f"4 steps, texts by length ({length_N.mean():.0f} tokens in the mean, at most 128)"
    yield beside(
        name, lambda: steps(by_length), "in any order", lambda: steps(order), ">= 1.3 x faster", faster=True
    )


def _as_long_as_all(places: np.ndarray, length_N: np.ndarray) -> np.ndarray:
    """Places of the four batches whose padded lengths come nearest, in the mean, to those of all."""
    batches = places.reshape(-1, 16)
    padded = length_N[batches].max(1)
    chosen = min(combinations(range(len(batches)), 4), key=lambda c: abs(padded[[*c]].mean() - padded.mean()))
    return batches[[*chosen]].ravel()
