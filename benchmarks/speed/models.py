"""Encoders of random weights, u2a's model on them, and the same encoders with bare peft."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from u2a.encoders.blocks import lora_targets
from u2a.method.losses import Counts
from u2a.method.model import U2A
from u2a.method.objective import Objective
from u2a.recipe.file import load_recipe
from u2a.runs.build import build_model

SMALL = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(995))]
CLASSES = [f"class {c}" for c in range(19)]
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Encoder:
    """One encoder: how it is made, and what it is given.

    Attributes:
        kind: the modality.
        inputs: `inputs(n)` of n samples.
        options: further lines of the recipe's section.
    """

    kind: str
    config: Any
    inputs: Callable[[int], Inputs]
    options: str = ""
    cls: Callable[[Any], Tensor] = lambda output: output.last_hidden_state[:, 0]


def _pixels(side: int) -> Callable[[int], Inputs]:
    return lambda n: {"pixel_values": torch.randn(n, 3, side, side)}


def _text(length: int) -> Callable[[int], Inputs]:
    def inputs(n: int) -> Inputs:
        ids = torch.randint(5, 1000, (n, length))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    return inputs


def dinov2_small(side: int = 112, blocks: int = 12) -> Encoder:
    """DINOv2 small: 14-pixel patches."""
    config = hf.Dinov2Config(**SMALL, num_hidden_layers=blocks, image_size=side, patch_size=14)
    return Encoder("image", config, _pixels(side), f"resolution = {side}")


def minilm(length: int = 117, blocks: int = 6) -> Encoder:
    """MiniLM L6, or deeper."""
    words = {**SMALL, "num_attention_heads": 12, "vocab_size": len(WORDS)}
    config = hf.BertConfig(**words, num_hidden_layers=blocks, max_position_embeddings=512)
    return Encoder("text", config, _text(length), f"max_length = {length}")


def clip_base() -> Encoder:
    """CLIP ViT-B/16's picture tower at 224 pixels."""
    config = hf.CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, patch_size=16
    )
    return Encoder("image", config, _pixels(224), "resolution = 224")


def bert_base(length: int = 64) -> Encoder:
    """BERT base."""
    config = hf.BertConfig(vocab_size=len(WORDS))
    return Encoder("text", config, _text(length), f"max_length = {length}")


def ast(frames: int = 512) -> Encoder:
    """The audio spectrogram transformer at half its length."""
    config = hf.ASTConfig(max_length=frames)
    return Encoder(
        "audio",
        config,
        lambda n: {"input_values": torch.randn(n, frames, 128)},
        f"max_length = {frames}",
        cls=lambda output: output.last_hidden_state[:, :2].mean(1),
    )


CLASS_OF = {
    "dinov2": hf.Dinov2Model,
    "bert": hf.BertModel,
    "clip_vision_model": hf.CLIPVisionModel,
    "audio-spectrogram-transformer": hf.ASTModel,
}


def save(encoder: Encoder, folder: Path) -> Path:
    """A checkpoint of random weights, with all the files that u2a asks for."""
    torch.manual_seed(0)
    options = {"add_pooling_layer": False} if encoder.config.model_type == "bert" else {}
    model = CLASS_OF[encoder.config.model_type](encoder.config, **options)
    model.save_pretrained(folder)
    if encoder.kind == "text":
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
        hf.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    elif encoder.kind == "image":
        size = encoder.config.image_size
        hf.ViTImageProcessor(size={"height": size, "width": size}).save_pretrained(folder)
    else:
        extractor = {
            "feature_extractor_type": "ASTFeatureExtractor",
            "sampling_rate": 16000,
            "num_mel_bins": 128,
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    return folder


class Ours:
    """u2a's step on a recipe of these encoders."""

    def __init__(self, encoders: list[Encoder], folder: Path, *sets: str) -> None:
        sections = []
        for number, encoder in enumerate(encoders):
            place = folder / f"encoder-{number}"
            if not place.exists():
                save(encoder, place)
            name = f"m{number}"
            sections.append(
                f'[modalities.{name}]\nkind = "{encoder.kind}"\nencoder = "{place}"\n{encoder.options}\n'
            )
        task = f'[task]\nkind = "single_label"\nclasses = {json.dumps(CLASSES)}\n'
        head = f'name = "bench"\n[data]\nshards = "none"\n{task}'
        path = folder / "bench.toml"
        path.write_text(head + "".join(sections))
        self.recipe = load_recipe(path, ("training.device=cpu", *sets))
        self.model: U2A = build_model(self.recipe)
        training = self.recipe.training
        self.objective = Objective(
            self.model,
            alignment_weight=training.alignment_weight,
            detach_target=training.detach_target,
            exhaustive=training.modality_dropout == "exhaustive",
        ).train()
        self.learned = [p for branch in self.model.each_branch() for _, p in branch.learnable()]
        self.learned += list(self.model.head.parameters())
        if self.model.read_outs is not None:
            self.learned += list(self.model.read_outs.parameters())
        self.optimizer = torch.optim.AdamW(self.learned, lr=1e-4)

    def step(self, inputs: dict[str, Inputs], target: Tensor, present_BM: Tensor | None = None) -> None:
        """Forward, backward, clip, AdamW: what `Trainer.train_step` does."""
        present_BM = (
            torch.ones(len(target), len(self.model.names), dtype=torch.bool)
            if present_BM is None
            else present_BM
        )
        counts = Counts.of(present_BM)
        losses = self.objective(inputs, present_BM, target, counts)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.learned, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def named(self, inputs: list[Inputs]) -> dict[str, Inputs]:
        """Inputs by modality."""
        return dict(zip(self.model.names, inputs, strict=True))


class Bare:
    """The same encoders, peft's LoRA of the same rank on the same projections, a linear head on the sum."""

    def __init__(self, encoders: list[Encoder], folder: Path, *, rank: int, bf16: bool = False) -> None:
        self.encoders, self.bf16, adapted = encoders, bf16, []
        for number, encoder in enumerate(encoders):
            model_class = CLASS_OF[encoder.config.model_type]
            options = {"add_pooling_layer": False} if encoder.kind == "text" else {}
            dtype = torch.bfloat16 if bf16 else torch.float32
            base = model_class.from_pretrained(folder / f"encoder-{number}", dtype=dtype, **options)
            names = [name for block in lora_targets(base) for name in block]
            config = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.1, target_modules=names)
            adapted.append(get_peft_model(base, config, autocast_adapter_dtype=True))
        self.models = nn.ModuleList(adapted).train()
        width = max(encoder.config.hidden_size for encoder in encoders)
        self.head = nn.Linear(width, len(CLASSES))
        learned = [p for p in [*self.models.parameters(), *self.head.parameters()] if p.requires_grad]
        self.learned, self.optimizer = learned, torch.optim.AdamW(learned, lr=1e-4)

    def forward(self, inputs: list[Inputs]) -> Tensor:
        """The sum of the class tokens."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            tokens = [
                encoder.cls(model(**given))
                for encoder, model, given in zip(self.encoders, self.models, inputs, strict=True)
            ]
        return sum((token.float() for token in tokens), torch.zeros(()))

    def step(self, inputs: list[Inputs], target: Tensor) -> None:
        """Forward, backward, clip, AdamW."""
        torch.nn.functional.cross_entropy(self.head(self.forward(inputs)), target).backward()
        torch.nn.utils.clip_grad_norm_(self.learned, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def plain(encoders: list[Encoder], folder: Path) -> Callable[[list[Inputs]], None]:
    """The bare encoders' forward pass, without any adapter."""
    models = []
    for number, encoder in enumerate(encoders):
        options = {"add_pooling_layer": False} if encoder.kind == "text" else {}
        model_class = CLASS_OF[encoder.config.model_type]
        models.append(model_class.from_pretrained(folder / f"encoder-{number}", **options).eval())

    def run(inputs: list[Inputs]) -> None:
        with torch.inference_mode():
            for model, given in zip(models, inputs, strict=True):
                model(**given)

    return run
