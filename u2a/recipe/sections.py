"""Recipes: one TOML file that says which data, modalities, model and schedule a training uses.

Validation happens before any compute, and reports every fault at once with file and key. The paper's
values (Table 5, section 4.2) are the defaults wherever the paper gives one for all of its data sets.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from u2a.contract.modality import ModalityOptions
from u2a.contract.paths import PathOrUrl
from u2a.errors import PluginError
from u2a.plugins.loading import registry
from u2a.recipe.kept import plain

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
ModalityName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Shards = PathOrUrl | tuple[PathOrUrl, ...]


class Section(BaseModel):
    """Base of the recipe's own sections: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _bool_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"is {str(value).lower()}, where no true or false belongs")
        return value


class MissingRule(Section):
    """Which samples of a split lose which modalities: drawn, or read from a file of ``u2a data mask``."""

    rate: float | None = Field(
        None, ge=0, le=1, description="share of the samples that are drawn; exact: 0.7 of 90 is 63"
    )
    missing: ModalityName | None = Field(
        None, description="what a drawn sample loses: a modality; each (even parts lose one each); or any"
    )
    seed: int | None = Field(None, ge=0, description="of the draw; the recipe's seed if left out")
    table: PathOrUrl | None = Field(None, description="a file written by u2a data mask, instead of drawing")

    @model_validator(mode="after")
    def _complete(self) -> MissingRule:
        if not self.given:
            raise ValueError("needs a rate, or a table made with: u2a data mask")
        return self

    @property
    def given(self) -> bool:
        """Whether this says which samples lose something."""
        return self.rate is not None or self.table is not None


class MissingSection(MissingRule):
    """``data.missing``: one rule for all splits, or a rule of their own for some."""

    train: MissingRule | None = None
    val: MissingRule | None = None
    test: MissingRule | None = None

    @model_validator(mode="after")
    def _complete(self) -> MissingSection:
        if not self.given and not (self.train or self.val or self.test):
            raise ValueError("needs a rate, or a table made with: u2a data mask")
        if not self.given and (self.missing or self.seed is not None):
            raise ValueError("missing and seed need a rate beside them")
        return self

    def rule(self, split: str) -> MissingRule | None:
        """The rule of a split: its own, else the common one, else none."""
        own: MissingRule | None = getattr(self, split, None) if split in ("train", "val", "test") else None
        return own or (self if self.given else None)


class DataSection(Section):
    """Where the samples are."""

    shards: PathOrUrl | dict[Name, Shards] = Field(
        description="folder or URL that holds dataset.json, or shard files by split"
    )
    indexes: dict[Name, Shards] | None = Field(
        None,
        description="where the indexes of a split's shards are, in the same order, if not beside them",
    )
    holdout: float | None = Field(
        None,
        gt=0,
        lt=0.5,
        description="share of the training samples held out for validation, chosen by seed",
    )
    workers: int | None = Field(None, ge=0, description="loader processes; by default chosen for the machine")
    on_error: Literal["fail", "skip"] = Field(
        "fail", description="what a sample does that cannot be read: ends the work, or is left out and counted"
    )
    cache_dir: PathOrUrl | None = Field(
        None, description="where shards from elsewhere are kept; $U2A_CACHE or ~/.cache/u2a if left out"
    )
    cache_gb: float = Field(50.0, gt=0, description="gigabytes that shards from elsewhere may take here")
    streaming: bool = Field(
        False, description="read train's shards one after another, without an index; see docs/data.md"
    )
    samples_per_epoch: int | None = Field(
        None, gt=0, description="what is called an epoch with streaming; needed there, unused elsewhere"
    )
    missing: MissingSection | None = Field(
        None, description="takes modalities away from samples, in training and evaluation"
    )


def _unique(classes: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted(name for name, count in Counter(classes).items() if count > 1)
    if twice:
        raise ValueError(f"class {twice[0]!r} is named twice")
    return classes


DEFAULT_METRIC = {"single_label": "accuracy", "multi_label": "f1_macro"}


class TaskSection(Section):
    """What is predicted, and how it is scored."""

    kind: Literal["single_label", "multi_label"] = Field(
        "single_label", description="cross entropy over the classes, or binary cross entropy for each of them"
    )
    classes: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(_unique)] = Field(
        description="the labels' names, in the order of the head's outputs"
    )
    metric: str | None = Field(
        None,
        description="the headline score: a metric of `u2a plugins list` that fits the kind; "
        "accuracy, or f1_macro for multi_label, if left out",
    )

    class_weights: Literal["balanced"] | None = Field(
        None,
        description="balanced: in the task loss a sample of a rare class counts more (N / (C n_c); in "
        "multi_label tasks N / (2 n) for having a label, and for lacking it); all alike if left out",
    )

    select_on: Literal["mean", "complete", "worst"] = Field(
        "mean",
        description="what picks the best checkpoint: the mean or the worst of the complete pattern and each "
        "modality missing, or the complete pattern alone",
    )

    @property
    def headline(self) -> str:
        """The metric that heads every report."""
        return self.metric or DEFAULT_METRIC[self.kind]

    @property
    def selection_metric(self) -> str:
        """The metric that picks the best checkpoint: the headline, or mAP where F1 would hang on a threshold.

        Thresholds are fitted after training, so F1 at 0.5 says little about a checkpoint.
        """
        return "map" if self.metric is None and self.kind == "multi_label" else self.headline

    @field_validator("metric")
    @classmethod
    def _metric_fits(cls, metric: str | None, info: ValidationInfo) -> str | None:
        context, kind = info.context or {}, info.data.get("kind")
        metrics = context.get("plugins", registry()).metrics
        if metric is None:
            name = DEFAULT_METRIC.get(str(kind), "accuracy")
            if name not in metrics.specs:
                raise ValueError(metrics.unknown(name))
            return None
        try:
            found = metrics.find(metric, context.get("owners", {}).get(f"metric:{metric}"))
        except PluginError as error:
            raise ValueError(str(error)) from None
        if found is None:
            raise ValueError(metrics.unknown(metric))
        metric = found
        if kind and kind not in metrics.specs[metric].task_kinds:
            fitting = sorted(name for name, spec in metrics.specs.items() if kind in spec.task_kinds)
            raise ValueError(f"metric {metric} does not fit kind = {kind}; these do: {', '.join(fitting)}")
        return metric


class ModelSection(Section):
    """The model's size, mask tokens and LoRA; the LoRA values are the paper's."""

    fusion: Literal["per_modality", "sum"] = Field(
        "per_modality",
        description="per_modality: standardised read-outs, weights of their own for each modality in the head; "
        "sum: the paper's plain sum of class tokens",
    )
    read_out: Literal["auto", "cls", "mean", "both"] = Field(
        "auto",
        description="with per_modality: a modality's class token, the mean of its tokens, or both; auto: by "
        "validation loss",
    )
    proxy_rank: int = Field(
        16,
        ge=0,
        description="with per_modality: rank of the maps that predict a missing modality's read-out from each "
        "present one; 0 = its mean stands in",
    )
    width: int | None = Field(
        None,
        gt=0,
        description="with sum: width of the fused vector; the widest encoder's if left out; others get a "
        "projection",
    )
    mask_tokens: Literal["shared", "per_target"] = Field(
        "shared",
        description="one mask token a modality, or one for each other modality that it can stand in for",
    )
    lora_rank: int = Field(1, gt=0, description="rank of the update of each adapted projection")
    lora_alpha: float = Field(1.0, gt=0, description="the update counts alpha / rank times")
    lora_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the update's input, in training")


class LrFactors(Section):
    """How fast each part learns, relative to ``training.lr``."""

    lora: float = Field(3.0, ge=0, description="LoRA of frozen encoders")
    encoder: float = Field(1.0, ge=0, description="of a modality that is trained whole")
    mask_tokens: float = Field(1.0, ge=0, description="the mask tokens")
    projection: float = Field(1.0, ge=0, description="projections to a common width (fusion = sum)")
    proxies: float = Field(0.3, ge=0, description="maps that stand in for what is missing")
    head: float = Field(1.0, ge=0, description="the head")


class TrainingSection(Section):
    """Optimisation; batch_size is the global batch of one optimizer step."""

    head_start: bool = Field(
        True,
        description="with model.fusion = per_modality: fit all that stands behind the frozen encoders "
        "before the first step",
    )
    batch_size: int = Field(
        16,
        gt=0,
        description="samples of one optimizer step, over all processes and micro-batches together",
    )
    accumulation: int = Field(1, gt=0, description="micro-batches of one process per optimizer step")
    epochs: int = Field(
        5, ge=0, description="times that every training sample is used; 0 = the head start is the training"
    )
    warmup_epochs: int = Field(
        0,
        ge=0,
        description="epochs at 0.1 x lr before the polynomial decay; half of a training that is no longer",
    )
    lr: float = Field(1e-3, gt=0, description="AdamW's learning rate at the start of the decay")
    lr_factors: LrFactors = Field(LrFactors(), description="how fast each part learns, relative to lr")
    power: float = Field(0.9, gt=0, description="of the polynomial decay to 0")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    eps: float = Field(1e-8, gt=0, description="AdamW's")
    clip_norm: float = Field(1.0, ge=0, description="largest gradient norm; 0 = no clipping")
    patience: int = Field(
        5, ge=0, description="epochs without a better validation after which training ends; 0 = never"
    )
    start_from: PathOrUrl | None = Field(
        None, description="a run folder whose adapter this training begins with, as far as it fits"
    )
    save_minutes: float = Field(
        10.0,
        ge=0,
        description="most minutes of training that a killed process loses; 0 = save after epochs only",
    )
    alignment_weight: float = Field(0.20, ge=0, description="lambda of eq. 7")
    detach_target: bool = Field(True, description="stop the alignment loss's gradient at what is aligned to")
    modality_dropout: Literal["auto", "off", "random", "exhaustive"] = Field(
        "exhaustive",
        description="random: each step keeps all modalities with probability 1/3, else a random proper subset; "
        "exhaustive: the task loss is averaged over all non-empty subsets of each sample's modalities; "
        "auto: random if every training sample is complete, else off",
    )
    precision: Literal["bf16", "fp32"] = Field(
        "fp32", description="of the encoders; what is learned, fusion, head and losses are float32 in any case"
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="auto takes a GPU if there is one; under torchrun each process takes its own",
    )
    loggers: tuple[str, ...] = Field(
        (), description="where curves go beside metrics.jsonl: loggers of `u2a plugins list`, e.g. tensorboard"
    )

    @model_validator(mode="after")
    def _micro_batches(self) -> TrainingSection:
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size ({self.batch_size}) is not divisible by accumulation ({self.accumulation})"
            )
        return self


class Recipe(Section):
    """A whole recipe; `modalities` keep the order of the file, which is their order everywhere."""

    name: Name = Field(description="of the runs: `runs/NAME-001` and so on")
    seed: int = Field(0, ge=0, description="of everything that is drawn: weights, batches, dropout, tables")
    data: DataSection
    task: TaskSection
    modalities: dict[ModalityName, SerializeAsAny[ModalityOptions]] = Field(min_length=1)
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()

    def resolved(self) -> dict[str, Any]:
        """Every value in effect, defaults included, as plain TOML types."""
        return plain(self)
