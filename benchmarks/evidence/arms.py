"""The study's arms: what each one changes of a recipe that names only data, classes and encoders."""

from __future__ import annotations

from dataclasses import dataclass

#: Section 4.2 and table 5 of the paper, with the epochs of this study.
PAPER = (
    "model.fusion=sum",
    "training.head_start=false",
    "training.detach_target=false",
    "training.clip_norm=0",
    "training.patience=0",
    "training.epochs=10",
    "training.warmup_epochs=2",
    "training.weight_decay=0.02",
    "task.select_on=complete",
    "task.select_by=metric",
)


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        sets: overrides of the recipe.
        says: what a reader should know of it.
        alone: a model for each availability pattern, trained on these modalities only.
        missing: modality (or ``each``) that 70 % of training, validation and test samples lack.
        zeros: scored once more with zeros in place of mask tokens, under this name.
    """

    name: str
    says: str
    sets: tuple[str, ...] = ()
    alone: bool = False
    missing: str = ""
    zeros: str = ""


ARMS = (
    Arm("default", "the defaults"),
    Arm("head start", "the head start alone: no step of LoRA", ("training.epochs=0",)),
    Arm(
        "paper",
        "the paper's settings, dropout auto",
        (*PAPER, "training.modality_dropout=auto"),
        zeros="zero fill",
    ),
    Arm(
        "paper, exhaustive",
        "the paper's settings with exhaustive dropout",
        (*PAPER, "training.modality_dropout=exhaustive"),
        zeros="zero fill, exhaustive",
    ),
    Arm("mean fill", "default without proxies: a missing modality counts as its mean", ("model.proxy_rank=0",)),
    Arm(
        "regression fill",
        "default with the proxies as the ridge regression leaves them",
        ("training.lr_factors.proxies=0", "training.lr_factors.mask_tokens=0"),
    ),
    Arm("no head start", "default without the head start", ("training.head_start=false",)),
    Arm("random dropout", "default with random dropout", ("training.modality_dropout=random",)),
    Arm("no dropout", "default without dropout", ("training.modality_dropout=off",)),
    Arm("class token", "default that reads class tokens only", ("model.read_out=cls",)),
    Arm("no detach", "default whose alignment also moves its target", ("training.detach_target=false",)),
    Arm("no alignment", "default without alignment", ("training.alignment_weight=0",)),
    Arm("dedicated", "the defaults, trained for each pattern alone", alone=True),
    Arm("default, 70 % lack the first", "the defaults on data whose first modality is rare", missing="first"),
    Arm(
        "default, 70 % lack the second", "the defaults on data whose second modality is rare", missing="second"
    ),
    Arm("default, 70 % lack one", "the defaults, 35 % lack the one and 35 % the other", missing="each"),
    Arm("paper, 70 % lack the first", "the paper's on the same", PAPER, missing="first"),
    Arm("paper, 70 % lack the second", "the paper's on the same", PAPER, missing="second"),
    Arm("paper, 70 % lack one", "the paper's on the same", PAPER, missing="each"),
)
