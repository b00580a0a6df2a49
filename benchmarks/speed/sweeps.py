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
    """For two, four and six modalities: both encode all samples, and score from that."""
    for n_modalities, goal in GOALS.items():
        place = folder / str(n_modalities)
        place.mkdir()
        encoders = [dinov2_small(), minilm(length=65)] * (n_modalities // 2)
        ours = Ours(encoders, place)
        ours.model.eval().merge_lora()
        torch.manual_seed(1)
        named = ours.named([encoder.inputs(BATCH) for encoder in encoders])
        target = torch.randint(0, len(CLASSES), (SAMPLES,))

        def encoded(ours: Ours = ours, named: dict = named, target: torch.Tensor = target) -> Encoded:
            present_BM = torch.ones(BATCH, len(named), dtype=torch.bool)
            with torch.inference_mode():
                parts = [ours.model.encode(named, present_BM) for _ in range(SAMPLES // BATCH)]
            cls_NMD, mask_NMMD = (torch.cat(column) for column in zip(*parts, strict=True))
            keys = tuple(map(str, range(SAMPLES)))
            present_NM = present_BM.repeat(SAMPLES // BATCH, 1)
            return Encoded(cls_NMD, mask_NMMD, present_NM, target, torch.arange(SAMPLES), keys)

        yield beside(
            f"sweep over all {2**n_modalities - 1} patterns of {n_modalities} modalities, {SAMPLES} samples",
            lambda ours=ours, encoded=encoded: sweep(ours.model, encoded(), ours.recipe.task),
            "one evaluation",
            lambda ours=ours, encoded=encoded: Scorer(ours.model, encoded(), ours.recipe.task).drop(),
            goal,
        )
