"""Pretrain the quickstart's three small encoders, each on its own modality and on classes that its task lacks.

    python scripts/pretrain_encoders.py image text audio
    python scripts/pretrain_encoders.py image --out /tmp/encoders

About four minutes on two cores for all three. Deterministic for given library versions and number of threads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from pretraining import pictures, sentences, sounds
from pretraining.fit import fit, make
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    BertConfig,
    BertModel,
    BertTokenizerFast,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

PACKAGED = Path(__file__).parents[1] / "u2a/encoders/packaged/quickstart"
HELD_OUT = 2000
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}
WIDE_START = {"initializer_range": 0.1}  # so narrow a model learns slowly from the usual 0.02


def image(out: Path) -> dict[str, float]:
    """A ViT that names shapes and fills from its class token, and draws both from its patches."""
    count = 30000
    processor = ViTImageProcessorPil(size={"height": 48, "width": 48}, resample=2)
    config = ViTConfig(**SHAPE, **WIDE_START, image_size=48, patch_size=8)
    model = ViTModel(config, add_pooling_layer=False)
    shape_head, fill_head = nn.Linear(64, len(pictures.SHAPES)), nn.Linear(64, len(pictures.FILLS))
    drawing_head = nn.Linear(64, 2 * 8 * 8)
    made = make(pictures.picture, count + HELD_OUT)
    pixels = torch.from_numpy(np.stack([p.pixels for p in made])).permute(0, 3, 1, 2)
    shape, fill = torch.tensor([p.shape for p in made]), torch.tensor([p.fill for p in made])
    drawn = by_patch(torch.from_numpy(np.stack([(p.outline, p.second) for p in made])))

    def logits(numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scaled = (pixels[numbers].float() / 255 - 0.5) / 0.5  # the processor's mean and deviation
        hidden = model(pixel_values=scaled).last_hidden_state
        return shape_head(hidden[:, 0]), fill_head(hidden[:, 0]), drawing_head(hidden[:, 1:])

    def loss(numbers: Tensor) -> Tensor:
        by_shape, by_fill, by_pixel = logits(numbers)
        naming = F.cross_entropy(by_shape, shape[numbers]) + F.cross_entropy(by_fill, fill[numbers])
        return naming + 4 * F.binary_cross_entropy_with_logits(by_pixel, drawn[numbers].float())

    fit("image", [model, shape_head, fill_head, drawing_head], loss, count, epochs=6, lr=2e-3, batch=64)
    save(model, out, processor)
    model.eval()
    with torch.inference_mode():
        by_shape, by_fill, _ = logits(torch.arange(count, count + HELD_OUT))
    return {
        "shape accuracy": accuracy(by_shape, shape[count:]),
        "fill accuracy": accuracy(by_fill, fill[count:]),
    }


def by_patch(masks: Tensor) -> Tensor:
    """Masks (samples, 2, 48, 48) as the 128 values of each of the 36 patches of 8 x 8."""
    return masks.unflatten(2, (6, 8)).unflatten(4, (6, 8)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2).flatten(2)


def audio(out: Path) -> dict[str, float]:
    """An AST that names horn signals."""
    count = 20000
    extractor = ASTFeatureExtractor(num_mel_bins=64, max_length=96, do_normalize=False)
    made = make(Clips(extractor), count + HELD_OUT)
    spectra, signal = torch.from_numpy(np.stack([m[0] for m in made])), torch.tensor([m[1] for m in made])
    # As in AST: halves the deviation, so that most values lie in -0.5..0.5.
    mean, std = round(float(spectra[:count].mean()), 4), round(float(spectra[:count].std()), 4)
    spectra = (spectra - mean) / (2 * std)
    extractor = ASTFeatureExtractor(num_mel_bins=64, max_length=96, mean=mean, std=std)
    config = ASTConfig(**SHAPE, num_mel_bins=64, max_length=96, time_stride=8, frequency_stride=16)
    model, head = ASTModel(config), nn.Linear(64, len(sounds.SIGNALS))

    def logits(numbers: Tensor) -> Tensor:
        hidden = model(input_values=spectra[numbers]).last_hidden_state
        return head(hidden[:, :2].mean(dim=1))

    fit(
        "audio",
        [model, head],
        lambda numbers: F.cross_entropy(logits(numbers), signal[numbers]),
        count,
        epochs=6,
        lr=2e-3,
    )
    save(model, out, extractor)
    model.eval()
    with torch.inference_mode():
        return {"signal accuracy": accuracy(logits(torch.arange(count, count + HELD_OUT)), signal[count:])}


class Clips:
    """Picklable: a seed to the spectrum and signal of its clip."""

    def __init__(self, extractor: ASTFeatureExtractor) -> None:
        self.extractor = extractor

    def __call__(self, seed: int) -> tuple[np.ndarray, int]:
        wave, signal = sounds.clip(seed)
        # Through 16 bits, as a WAV file stores it.
        wave = np.round(wave * 32767).astype(np.float32) / 32768
        spectrum = self.extractor(wave, sampling_rate=16000, return_tensors="np")["input_values"][0]
        return spectrum.astype(np.float32), signal


def text(out: Path) -> dict[str, float]:
    """A BERT that fills masked words, and from its class token says which nouns the sentence has."""
    count = 20000
    tokenizer = make_tokenizer()
    config = BertConfig(
        **SHAPE, vocab_size=len(tokenizer), max_position_embeddings=64, hidden_dropout_prob=0.05
    )
    nouns = torch.tensor(tokenizer.convert_tokens_to_ids(list(sentences.NOUNS)))
    model = BertModel(config, add_pooling_layer=False)
    word_head, noun_head = nn.Linear(64, len(tokenizer)), nn.Linear(64, len(nouns))
    nn.init.constant_(noun_head.bias, -3.0)  # few of them are in any one sentence
    written = [sentences.sentence(seed) for seed in range(count + HELD_OUT)]
    ids = tokenizer(written, padding=True, truncation=True, max_length=40, return_tensors="pt")["input_ids"]

    def predictions(numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        shown = ids[numbers]
        masked = (torch.rand(shown.shape) < 0.15) & (shown >= len(sentences.SPECIAL))
        output = model(
            input_ids=shown.masked_fill(masked, tokenizer.mask_token_id), attention_mask=(shown != 0).long()
        )
        present = torch.zeros(len(numbers), len(tokenizer)).scatter_(1, shown.masked_fill(masked, 0), 1.0)
        by_noun = noun_head(output.last_hidden_state[:, 0])
        return word_head(output.last_hidden_state[masked]), shown[masked], by_noun, present[:, nouns]

    def loss(numbers: Tensor) -> Tensor:
        by_word, word, by_noun, present = predictions(numbers)
        noun_loss = F.binary_cross_entropy_with_logits(by_noun, present, reduction="none").sum(dim=1).mean()
        return 0.2 * F.cross_entropy(by_word, word) + noun_loss

    fit("text", [model, word_head, noun_head], loss, count, epochs=3, lr=1e-3, batch=64)
    save(model, out, tokenizer)
    model.eval()
    with torch.inference_mode():
        by_word, word, by_noun, present = predictions(torch.arange(count, count + HELD_OUT))
    found = (by_noun > 0).float()
    return {
        "masked word accuracy": accuracy(by_word, word),
        "noun recall": float((found * present).sum() / present.sum()),
        "noun precision": float((found * present).sum() / found.sum()),
    }


def make_tokenizer() -> BertTokenizerFast:
    """BERT's lower-case WordPiece over `sentences.vocabulary`."""
    units = {unit: number for number, unit in enumerate(sentences.vocabulary())}
    rules = Tokenizer(models.WordPiece(units, unk_token="[UNK]"))
    rules.normalizer = normalizers.BertNormalizer(lowercase=True)
    rules.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rules.post_processor = processors.BertProcessing(("[SEP]", units["[SEP]"]), ("[CLS]", units["[CLS]"]))
    return BertTokenizerFast(tokenizer_object=rules, model_max_length=64)


def accuracy(logits: Tensor, target: Tensor) -> float:
    """Share of rows whose largest logit is the target's."""
    return float((logits.argmax(-1) == target).float().mean())


def save(model: nn.Module, out: Path, preprocessor: Any) -> None:
    """The ordinary checkpoint layout, in half precision; ``model`` keeps the rounded weights."""
    model.half().save_pretrained(out)
    preprocessor.save_pretrained(out)
    model.float()


PRETRAIN = {"image": image, "audio": audio, "text": text}


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice(sorted(PRETRAIN)))
@click.option("--out", type=click.Path(path_type=Path), default=PACKAGED, help="Folder of the checkpoints.")
@click.option("--seed", default=0, help="Seed of weights and order.")
def main(names: tuple[str, ...], out: Path, seed: int) -> None:
    """Pretrain the named encoders and print their held-out scores."""
    for name in names:
        torch.manual_seed(seed)
        scores = PRETRAIN[name](out / name)
        print(json.dumps({"encoder": name, "seed": seed, **{k: round(v, 3) for k, v in scores.items()}}))


if __name__ == "__main__":
    main()
