"""Encoders without a class token: the mean of their tokens, or a learned one appended like a mask token.

    python -m benchmarks.class_token WORK     # goes on where it was stopped; prints what there is at the end

Two encoders have their class token taken away (MiniLM reads texts without [CLS], the keyword transformer begins
with its first frame), on the development folder's drawings (titles) and spoken digits. Arms: `mean`, `learned`
(read alone), `both` (read side by side; the defaults only), under the defaults and under the paper's setting.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any
from unittest.mock import patch

import u2a
from benchmarks.evidence.sets import MINILM, SHARED
from u2a.contract.modality import Inputs, Tokens
from u2a.method.branch import UnimodalBranch
from u2a.method.read_out import ReadTokens
from u2a.plugins.loading import registry
from u2a_text.architectures import ARCHITECTURES

SEEDS = (0, 1, 2)
PAPER = {
    "model": {"fusion": "sum"},
    "training": {
        "head_start": False,
        "detach_target": False,
        "weight_decay": 0.02,
        "lr_factors": {"lora": 1.0},
    },
}
ARMS: dict[str, tuple[bool, dict[str, Any]]] = {
    "defaults, mean": (False, {"model": {"read_out": "mean"}}),
    "defaults, learned": (True, {"model": {"read_out": "cls"}}),
    "defaults, both": (True, {"model": {"read_out": "both"}}),
    "paper, mean": (False, PAPER),
    "paper, learned": (True, PAPER),
}
SETS: dict[str, tuple[str, str, dict[str, Any], dict[str, int]]] = {
    "titles": ("drawings", "text", {"max_length": 10}, {"train": 600, "val": 188, "test": 337}),
    "spoken digits": (
        "av_digits",
        "audio",
        {"kind": "keyword", "encoder": str(SHARED / "encoders/kwt1")},
        {"train": 400, "val": 150, "test": 500},
    ),
}


class LearnedClass(UnimodalBranch):
    """A branch whose first appended token is its class token, learned as a mask token is."""

    def __init__(self, *args: Any, n_mask_tokens: int, **how: Any) -> None:
        super().__init__(*args, n_mask_tokens=n_mask_tokens + 1, **how)

    def forward(self, inputs: Inputs) -> ReadTokens:
        """See `UnimodalBranch.forward`."""
        _, mean_PH, appended_PKH = super().forward(inputs)
        return ReadTokens(appended_PKH[:, 0], mean_PH, appended_PKH[:, 1:])


@contextmanager
def without_class_tokens(*, learned: bool) -> Iterator[None]:
    """Both encoders give their tokens alone; class tokens are means, or learned."""
    spec = registry().specs["keyword"]

    def embedding(backbone: Any, inputs: Inputs) -> Tokens:
        return Tokens(spec.embedding(backbone, inputs).hidden_NLD[:, 1:], cls=None)

    bert, owner = ARCHITECTURES["bert"], registry().owners["keyword"]
    brought = {"keyword": [(owner, replace(spec, embedding=embedding))]}
    with (
        patch.dict(registry().modalities.brought, brought),
        patch.dict(ARCHITECTURES, {"bert": replace(bert, cls=None)}),
        patch("u2a.runs.build.UnimodalBranch", LearnedClass if learned else UnimodalBranch),
    ):
        yield


def minilm_without_cls(work: Path) -> Path:
    """A copy of the checkpoint whose tokenizer puts no [CLS] in front of a text."""
    folder = work / "minilm"
    if not folder.exists():
        shutil.copytree(MINILM, folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        template = tokenizer["post_processor"]["single"]
        tokenizer["post_processor"]["single"] = template[1:]
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def recipe_of(name: str, work: Path) -> dict[str, Any]:
    """Data packed once, and a recipe of data, classes and encoder alone."""
    source, modality, options, sizes = SETS[name]
    root, folder = SHARED / "data" / source, work / name.replace(" ", "_")
    rows = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    random.Random(0).shuffle(rows)
    options = options if "encoder" in options else {**options, "encoder": str(minilm_without_cls(work))}
    recipe = {
        "name": "class_token",
        "data": {"shards": str(folder / "shards"), "workers": 0},
        "task": {"classes": sorted({row["label"] for row in rows})},
        "modalities": {modality: options},
        "training": {"epochs": 3, "device": "cpu", "lr": 1e-3},
    }
    if not (folder / "shards/dataset.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        chosen = [row for split, n in sizes.items() for row in [r for r in rows if r["split"] == split][:n]]
        keep = ("key", "split", "label", modality)
        u2a.pack([{key: row[key] for key in keep} for row in chosen], recipe, root=root)
    return recipe


def train_and_score(recipe: dict[str, Any], arm: str, seed: int, folder: Path) -> float:
    """Test accuracy of one training."""
    learned, changes = ARMS[arm]
    merged = {**recipe, **changes, "seed": seed}
    merged["training"] = {**recipe["training"], **changes.get("training", {})}
    shutil.rmtree(folder, ignore_errors=True)
    with without_class_tokens(learned=learned):
        return u2a.train(merged, run=folder).evaluate().scores["accuracy"]


def main() -> None:
    """Do what is not done yet, and print all there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "results.json"
    results: dict[str, float] = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in SEEDS:
        for name in SETS:
            with without_class_tokens(learned=False):
                recipe = recipe_of(name, work)
            for arm in ARMS:
                key = f"{name} | {arm} | {seed}"
                if key not in results:
                    results[key] = train_and_score(recipe, arm, seed, work / "run")
                    kept.write_text(json.dumps(results, indent=1))
    for name in SETS:
        for arm in ARMS:
            found = [results[f"{name} | {arm} | {seed}"] for seed in SEEDS]
            each = ", ".join(f"{100 * x:.1f}" for x in found)
            print(f"| {name} | {arm} | {100 * mean(found):.1f} | {each} |")


if __name__ == "__main__":
    main()
