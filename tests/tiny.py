"""Builders of tiny checkpoints, saved to disk as a user would have them, and of real media files.

Every builder writes ``config.json``, ``model.safetensors`` and the preprocessor or tokenizer files to a
folder and returns the folder. Weights are random but larger than transformers' initial ones, so that every
part of the network shows in the output.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import tokenizers
import torch
import transformers as hf
from PIL import Image

WORDS = tuple("film about the sea and two friends who find small red boat in old town".split())  # noqa: SIM905
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]


def _sizes(width: int, layers: int) -> dict[str, int]:
    return {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 4}


def save(model: Any, folder: Path, dtype: torch.dtype = torch.float32, seed: int = 0) -> Path:
    """Randomise and save a transformers model."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.1
            parameter.copy_(1 + noise if "norm" in name.lower() and name.endswith("weight") else noise)
    model.to(dtype).save_pretrained(folder)
    return folder


def write_json(folder: Path, name: str, value: dict[str, Any]) -> None:
    """One of a checkpoint's small files."""
    (folder / name).write_text(json.dumps(value))


def _image_constants(folder: Path, resolution: int) -> Path:
    constants = {"crop_size": {"height": resolution, "width": resolution}, "resample": 3}
    constants |= {"size": {"shortest_edge": resolution}, "image_mean": MEAN, "image_std": STD}
    write_json(folder, "preprocessor_config.json", constants)
    return folder


def clip_config(width: int = 32, layers: int = 2) -> hf.CLIPVisionConfig:
    """16-pixel patches of 32 x 32 pictures."""
    return hf.CLIPVisionConfig(
        **_sizes(width, layers), intermediate_size=2 * width, image_size=32, patch_size=16
    )


def save_clip(folder: Path, width: int = 32, layers: int = 2, dtype: torch.dtype = torch.float32) -> Path:
    """A CLIP vision tower."""
    return _image_constants(save(hf.CLIPVisionModel(clip_config(width, layers)), folder, dtype), 32)


def save_whole_clip(folder: Path, width: int = 32) -> Path:
    """Both towers of CLIP, as on the hub."""
    text = hf.CLIPTextConfig(**_sizes(32, 2), intermediate_size=64, vocab_size=50, max_position_embeddings=8)
    config = hf.CLIPConfig(
        text_config=text.to_dict(), vision_config=clip_config(width).to_dict(), projection_dim=16
    )
    return _image_constants(save(hf.CLIPModel(config), folder), 32)


def save_vit(folder: Path, width: int = 32, layers: int = 2, dtype: torch.dtype = torch.float32) -> Path:
    """A ViT with its pooler, as on the hub."""
    config = hf.ViTConfig(**_sizes(width, layers), intermediate_size=2 * width, image_size=32, patch_size=8)
    return _image_constants(save(hf.ViTModel(config), folder, dtype), 32)


def save_dinov2(folder: Path, width: int = 32, layers: int = 2, dtype: torch.dtype = torch.float32) -> Path:
    """A DINOv2 whose position table is for larger pictures than it is used with, as on the hub."""
    config = hf.Dinov2Config(**_sizes(width, layers), mlp_ratio=2, image_size=42, patch_size=7)
    return _image_constants(save(hf.Dinov2Model(config), folder, dtype), 28)


def save_bert(
    folder: Path, width: int = 32, layers: int = 2, dtype: torch.dtype = torch.float32, positions: int = 24
) -> Path:
    """A BERT with a real word-piece tokenizer."""
    vocabulary = bert_vocabulary()
    config = hf.BertConfig(
        **_sizes(width, layers),
        intermediate_size=2 * width,
        vocab_size=len(vocabulary),
        max_position_embeddings=positions,
    )
    save(hf.BertModel(config), folder, dtype)
    return save_tokenizer(folder, positions)


def bert_vocabulary() -> list[str]:
    """Special tokens, single letters and their continuations, and a few words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return [*special, *letters, *(f"##{c}" for c in letters), *WORDS]


def save_tokenizer(folder: Path, positions: int) -> Path:
    """``vocab.txt`` and the files that transformers makes of it."""
    (folder / "vocab.txt").write_text("\n".join(bert_vocabulary()) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": positions}
    write_json(folder, "tokenizer_config.json", settings)
    hf.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder


def save_unigram(folder: Path, config: dict[str, Any] | None = None) -> Path:
    """A SentencePiece-like tokenizer.json of 15 pieces, as XLM-RoBERTa's is made."""
    words = [(w, 0.0) for w in ("<s>", "<pad>", "</s>", "<unk>")]
    words += [("\u2581red", -1.0), ("\u2581ship", -1.0), ("\u2581", -3.0), *((c, -4.0) for c in "redship")]
    words += [("\u2581Red", -2.0)]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(words, unk_id=3))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder, "tokenizer_config.json", config or {})
    return folder


def ast_config(width: int = 32, layers: int = 2) -> hf.ASTConfig:
    """64 frames of 32 mel bins: 2 x 5 patches."""
    return hf.ASTConfig(**_sizes(width, layers), intermediate_size=2 * width, max_length=64, num_mel_bins=32)


def save_ast(folder: Path, width: int = 32, layers: int = 2, dtype: torch.dtype = torch.float32) -> Path:
    """An Audio Spectrogram Transformer."""
    save(hf.ASTModel(ast_config(width, layers)), folder, dtype)
    return save_ast_constants(folder)


def save_ast_constants(folder: Path) -> Path:
    """The feature extractor's file."""
    hf.ASTFeatureExtractor(num_mel_bins=32, max_length=64).save_pretrained(folder)
    return folder


SAVERS: dict[str, Callable[[Path], Path]] = {
    "clip": save_clip,
    "vit": save_vit,
    "dinov2": save_dinov2,
    "bert": save_bert,
    "ast": save_ast,
}


def picture(width: int = 48, height: int = 40, seed: int = 0) -> Image.Image:
    """A smooth colourful picture, different in its four corners."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def image_bytes(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def tone(seconds: float = 0.8, rate: int = 16000, hertz: float = 440.0) -> np.ndarray:
    """A tone with a little noise, float32 [T]."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(0, 0.01, time.shape)
    return (0.4 * np.sin(2 * np.pi * hertz * time) + noise).astype(np.float32)


def sound_bytes(wave: np.ndarray, rate: int = 16000, format: str = "WAV", **options: Any) -> bytes:
    """A wave [T] or [T, channels] as a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=format, **options)
    return buffer.getvalue()


def clip_bytes(
    frames: np.ndarray | None,
    wave: np.ndarray | None = None,
    *,
    format: str = "mp4",
    codec: str = "libx264",
    rate: int = 10,
    **options: str,
) -> bytes:
    """Frames uint8 [T, H, W, 3] and (or) a mono 16 kHz wave as a media file."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        video = container.add_stream(codec, rate=rate, options=options) if frames is not None else None
        audio = container.add_stream("aac", rate=16000, layout="mono") if wave is not None else None
        if video is not None and frames is not None:
            video.height, video.width = frames.shape[1:3]
            video.bit_rate = 20_000_000  # mpeg4 keeps the brightness only then
            video.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            for pixels in frames:
                container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(video.encode(None))
        if audio is not None and wave is not None:
            frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return buffer.getvalue()


def numbered_frames(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Grey frames whose brightness tells their number: 4 steps a frame."""
    levels = np.arange(count, dtype=np.uint8) * 4 + 20
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()
