"""Recipes: one TOML file that says which data, modalities, model and schedule a training uses.

Validation happens before any compute, and reports every fault at once with file and key. The paper's
values (Table 5, section 4.2) are the defaults wherever the paper gives one for all of its data sets.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializeAsAny, model_validator

from u2a.contract.modality import ModalityOptions
from u2a.contract.paths import PathOrUrl
from u2a.recipe.data import DataSection
from u2a.recipe.kept import plain
from u2a.recipe.section import ModalityName, Name, PluginSection, Section
from u2a.recipe.task import TaskSection


class ModelSection(Section):
    """The model's size, mask tokens and LoRA; the paper has rank 1."""

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
    lora_rank: int = Field(8, gt=0, description="rank of the update of each adapted projection")
    lora_alpha: float | None = Field(
        None, gt=0, description="the update counts alpha / rank times; the root of the rank if left out"
    )
    adapt_blocks: int | None = Field(
        None,
        gt=0,
        description="mask tokens and LoRA enter at the last so many blocks of each encoder, those below run "
        "without gradients; all blocks if left out",
    )
    lora_dropout: float = Field(0.1, ge=0, lt=1, description="dropout on the update's input, in training")


class LrFactors(Section):
    """How fast each part learns, relative to ``training.lr``."""

    lora: float = Field(3.0, ge=0, description="LoRA of frozen encoders")
    encoder: float = Field(1.0, ge=0, description="of a modality that is trained whole, from nothing")
    pretrained: float = Field(0.05, ge=0, description="of a pretrained encoder that is trained whole")
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
    group_by_length: bool = Field(
        True,
        description="of modalities whose samples differ in length (text), similar ones share batches, which "
        "saves padding; not where data is streamed",
    )
    accumulation: int = Field(1, gt=0, description="micro-batches of one process per optimizer step")
    epochs: int = Field(
        10,
        ge=0,
        description="times that every training sample is used; 0 = the head start is the training; left out: "
        "as many as make 800 steps, but 5 to 10, and 5 without validation samples",
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
        None,
        description="a run, here or at an address, whose adapter training begins with, as far as it fits",
    )
    save_minutes: float = Field(
        10.0,
        ge=0,
        description="most minutes of training that a killed process loses; 0 = save after epochs only",
    )
    alignment_weight: float = Field(0.20, ge=0, description="lambda of eq. 7")
    frozen_cache_gb: float = Field(
        0.0,
        ge=0,
        description="room in the run folder, while it is trained, for what the frozen blocks below "
        "model.adapt_blocks give of each sample, of modalities that training does not augment; 0 = none",
    )
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


class Recipe(PluginSection):
    """A whole recipe; `modalities` keep the order of the file, which is their order everywhere."""

    name: Name = Field(description="of the runs: `runs/NAME-001` and so on")
    seed: int = Field(0, ge=0, description="of everything that is drawn: weights, batches, dropout, tables")
    data: DataSection
    task: TaskSection
    modalities: dict[ModalityName, SerializeAsAny[ModalityOptions]] = Field(min_length=1)
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()

    @model_validator(mode="after")
    def _frozen_cache(self) -> Recipe:
        if self.training.frozen_cache_gb and self.model.adapt_blocks is None:
            raise ValueError("training.frozen_cache_gb needs model.adapt_blocks: else no block is frozen")
        return self

    @property
    def leaves_epochs_out(self) -> bool:
        """Whether nobody said how many epochs."""
        return "epochs" not in self.training.model_fields_set

    def with_epochs(self, epochs: int) -> Recipe:
        """The same recipe with another ``training.epochs``."""
        training = self.training.model_copy(update={"epochs": epochs})
        return self.model_copy(update={"training": training})

    def resolved(self) -> dict[str, Any]:
        """Every value in effect, defaults included, as plain TOML types; no epochs where the data chooses."""
        values = plain(self)
        if self.leaves_epochs_out:
            del values["training"]["epochs"]
        return values
