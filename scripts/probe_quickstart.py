"""Linear probes of the quickstart's frozen encoders: how well can each read its own modality's sign?

    u2a quickstart --out shards/quickstart
    python scripts/probe_quickstart.py shards/quickstart

Features are the class tokens that training starts from, through the same plugins; the probe is a logistic
regression on the training split, scored on the test split. No adapters, no fusion.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from u2a.contract.modality import ModalitySpec
from u2a.recipe.file import load_recipe
from u2a.recipe.shipped import shipped_recipes
from u2a_quickstart.world import MODALITIES, SIGNS


def features(spec: ModalitySpec, options: Any, members: list[bytes]) -> Tensor:
    """Class tokens of the frozen encoder: float [samples, width]."""
    preprocess, backbone = spec.preprocessor(options), spec.backbone(options, weights=True).eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(members), 64):
            examples = [preprocess(member, train=False, seed=0) for member in members[start : start + 64]]
            tokens = spec.embedding(backbone, preprocess.collate(examples))
            cls_ND = spec.encoder(backbone, tokens)[:, list(tokens.cls)].mean(dim=1)
            frames = 1 if tokens.rows_P is None else int(tokens.rows_P[0])
            rows.append(cls_ND.unflatten(0, (-1, frames)).mean(dim=1))
    return torch.cat(rows)


def probe(train: Tensor, train_sign: Tensor, test: Tensor, test_sign: Tensor) -> float:
    """Test accuracy of a logistic regression with a little weight decay, on standardised features."""
    mean, std = train.mean(dim=0), train.std(dim=0)
    train, test = ((x - mean) / std for x in (train.clone(), test.clone()))
    head = nn.Linear(train.shape[1], 4)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=300)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(head(train), train_sign) + 1e-3 * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return float((head(test).argmax(dim=1) == test_sign).float().mean())


def read(folder: Path, split: str, modality: str) -> tuple[list[bytes], Tensor]:
    """The split's members of one modality, and the number of the sign that each really shows."""
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    shown = {s["key"]: s for s in map(json.loads, (folder / "signs.jsonl").read_text().splitlines())}
    rows = [row for row in rows if row["split"] == split]
    members = [
        row["text"].encode() if modality == "text" else (folder / row[modality]).read_bytes() for row in rows
    ]
    return members, torch.tensor([SIGNS[modality].index(shown[row["key"]][modality]) for row in rows])


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def main(folder: Path) -> None:
    """Probe all four modalities of the data set in FOLDER."""
    recipe = load_recipe(shipped_recipes()["quickstart"])
    for modality in MODALITIES:
        (train, train_sign), (test, test_sign) = (
            read(folder / "files", split, modality) for split in ("train", "test")
        )
        torch.manual_seed(0)
        options = recipe.modalities[modality]
        read_out = partial(features, recipe.plugins.spec(options.kind), options)
        score = probe(read_out(train), train_sign, read_out(test), test_sign)
        print(f"{modality}: {score:.3f} of the signs on {len(test)} test samples", flush=True)


if __name__ == "__main__":
    main()
