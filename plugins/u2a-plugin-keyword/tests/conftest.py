"""A small random Keyword Transformer on disk, in the format of the published one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

SIZES = {"d_model": 16, "layers": 2, "heads": 2, "mlp": 32, "tokens": 11, "ln_eps": 1e-6}
FRONT_END = {"sample_rate": 16000, "win": 480, "hop": 160, "n_mfcc": 10}


def _tone(seconds: float, hertz: float, rate: int = 16000) -> np.ndarray:
    """With a little noise, so that no band is silent; float32 [T]."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(0, 0.01, time.shape)
    return (0.4 * np.sin(2 * np.pi * hertz * time) + noise).astype(np.float32)


@pytest.fixture(scope="session")
def tone() -> Callable[..., np.ndarray]:
    return _tone


def front_end() -> dict[str, torch.Tensor]:
    """20 overlapping bands up to 4 kHz and a cosine transform."""
    turns = torch.outer(torch.arange(122), torch.arange(480)) % 480
    angle = 2 * math.pi * turns.double() / 480
    bands = 1 - ((torch.arange(122.0) - 6 * torch.arange(20.0)[:, None]) / 6).abs()
    dct = torch.cos(math.pi / 20 * torch.outer(torch.arange(10.0), torch.arange(20) + 0.5)) * math.sqrt(2 / 20)
    return {
        "fe.window": torch.hann_window(480),
        "fe.dft_re": angle.cos().float(),
        "fe.dft_im": -angle.sin().float(),
        "fe.mel": bands.clamp(min=0),
        "fe.log_floor": torch.tensor([1e-12]),
        "fe.dct": dct,
        "fe.norm_mean": torch.zeros(1),
        "fe.norm_scale": torch.full((10,), 0.5),
    }


def weights() -> dict[str, torch.Tensor]:
    D, mlp = SIZES["d_model"], SIZES["mlp"]
    shapes = {"proj.weight": (D, 10), "proj.bias": (D,), "cls_token": (1, 1, D), "pos_emb": (1, 11, D)}
    shapes |= {"head.weight": (12, D), "head.bias": (12,)}
    for n in range(2):
        block = {f"attn.{name}.weight": (D, D) for name in "qkvo"} | {"attn.o.bias": (D,)}
        block |= {"fc1.weight": (mlp, D), "fc1.bias": (mlp,), "fc2.weight": (D, mlp), "fc2.bias": (D,)}
        block |= {f"norm{i}.{name}": (D,) for i in (1, 2) for name in ("weight", "bias")}
        shapes |= {f"layers.{n}.{name}": shape for name, shape in block.items()}
    generator = torch.Generator().manual_seed(0)
    noise = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}
    return {name: 1 + value if ".norm" in name and "weight" in name else value for name, value in noise.items()}


def write(folder: Path, **changes: torch.Tensor) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**SIZES, **FRONT_END, "labels": ["yes", "no"]}))
    save_file({**weights(), **front_end(), **changes}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("keyword") / "kwt")
