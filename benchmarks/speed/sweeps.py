"""A sweep over all availability patterns, beside one evaluation of the complete data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.speed.models import CLASSES, Ours, dinov2_small, minilm
from benchmarks.speed.timing import Row, beside
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scenarios import sweep
from u2a.evaluation.scoring import Scorer

SAMPLES, BATCH = 128, 32
GOALS = {2: "<= 1.03", 4: "<= 1.05", 6: "<= 1.10"}


def rows(folder: Path) -> Iterator[Row]:
    """For two, four and six modalities."""
    for n_modalities, goal in GOALS.items():
        place = folder / str(n_modalities)
        place.mkdir()
        yield _row(n_modalities, goal, place)


def _row(n_modalities: int, goal: str, folder: Path) -> Row:
    """Both encode all samples, and score from that."""
    encoders = [dinov2_small(), minilm(length=65)] * (n_modalities // 2)
    ours = Ours(encoders, folder)
    ours.model.eval().merge_lora()
    torch.manual_seed(1)
    named = ours.named([encoder.inputs(BATCH) for encoder in encoders])
    target = torch.randint(0, len(CLASSES), (SAMPLES,))
    present_BM = torch.ones(BATCH, n_modalities, dtype=torch.bool)
    keys = tuple(map(str, range(SAMPLES)))

    def encoded() -> Encoded:
        with torch.inference_mode():
            parts = [ours.model.encode(named, present_BM) for _ in range(SAMPLES // BATCH)]
        cls_NMD, mask_NMMD = (torch.cat(column) for column in zip(*parts, strict=True))
        present_NM = present_BM.repeat(SAMPLES // BATCH, 1)
        return Encoded(cls_NMD, mask_NMMD, present_NM, target, torch.arange(SAMPLES), keys)

    return beside(
        f"sweep over all {2**n_modalities - 1} patterns of {n_modalities} modalities, {SAMPLES} samples",
        lambda: sweep(ours.model, encoded(), ours.recipe.task),
        "one evaluation",
        lambda: Scorer(ours.model, encoded(), ours.recipe.task).drop(),
        goal,
    )
