"""The network and front end against independent code, and against the published checkpoint where it is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from u2a_plugin_keyword.spec import KEYWORD

from u2a.errors import BadSample, CheckpointError, U2AError
from u2a.plugins.loading import load_registry
from u2a_audio.decode import encode_wav

SHARED = Path(os.environ.get("U2A_SHARED", Path(__file__).resolve().parents[4] / "shared"))
PUBLISHED = SHARED / "encoders/kwt1"
DIGITS = SHARED / "data/av_digits"


def options(folder: Path):
    return KEYWORD.options.model_validate({"kind": "keyword", "encoder": str(folder)})


def coefficients(folder: Path, wave: np.ndarray, rate: int = 16000) -> torch.Tensor:
    preprocessor = KEYWORD.preprocessor(options(folder))
    return preprocessor(encode_wav((wave, rate)), train=False, seed=0)["coefficients"]


def reference(folder: Path, frames_TC: torch.Tensor) -> torch.Tensor:
    """The whole network with torch's own attention module, float64: hidden states [L, D]."""
    tensors = {name: tensor.double() for name, tensor in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text())
    D = config["d_model"]
    hidden = frames_TC.double() @ tensors["proj.weight"].T + tensors["proj.bias"]
    hidden = torch.cat([tensors["cls_token"][0], hidden]) + tensors["pos_emb"][0]
    for n in range(config["layers"]):
        part = {k.removeprefix(f"layers.{n}."): v for k, v in tensors.items() if k.startswith(f"layers.{n}.")}
        attention = nn.MultiheadAttention(D, config["heads"], batch_first=True).double()
        with torch.no_grad():
            attention.in_proj_weight.copy_(torch.cat([part[f"attn.{x}.weight"] for x in "qkv"]))
            attention.in_proj_bias.zero_()
            attention.out_proj.weight.copy_(part["attn.o.weight"])
            attention.out_proj.bias.copy_(part["attn.o.bias"])
            mixed = attention(hidden[None], hidden[None], hidden[None])[0][0]
        norm = [(part[f"norm{i}.weight"], part[f"norm{i}.bias"], config["ln_eps"]) for i in (1, 2)]
        hidden = functional.layer_norm(hidden + mixed, (D,), *norm[0])
        inner = hidden @ part["fc1.weight"].T + part["fc1.bias"]
        inner = 0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
        hidden = functional.layer_norm(hidden + inner @ part["fc2.weight"].T + part["fc2.bias"], (D,), *norm[1])
    return hidden


def hidden(folder: Path, frames_TC: torch.Tensor) -> torch.Tensor:
    module = KEYWORD.backbone(options(folder), weights=True).eval()
    with torch.no_grad():
        tokens = KEYWORD.embedding(module, {"coefficients": frames_TC[None]})
        return KEYWORD.encoder(module, tokens)[0]


def test_hidden_states_equal_torchs_own_attention(encoder, tone):
    frames = coefficients(encoder, tone(0.1, 700))
    assert frames.shape == (10, 10)
    ours = hidden(encoder, frames)
    torch.testing.assert_close(ours.double(), reference(encoder, frames), atol=1e-5, rtol=1e-4)


def test_front_end_equals_numpys_fft(encoder, tone):
    wave = tone(0.12, 700).astype(np.float64)
    constants = {k: v.double().numpy() for k, v in load_file(encoder / "model.safetensors").items()}
    rows = []
    for start in range(0, 10 * 160, 160):
        spectrum = np.abs(np.fft.rfft(wave[start : start + 480] * constants["fe.window"]))[:122]
        log_mel = np.log(np.maximum(constants["fe.mel"] @ spectrum, 1e-12))
        rows.append((constants["fe.dct"] @ log_mel) * 0.5)
    np.testing.assert_allclose(coefficients(encoder, wave.astype(np.float32)), rows, atol=2e-3)


def test_silence_is_of_the_least_energy(encoder):
    constants = load_file(encoder / "model.safetensors")
    log_mel = np.full(len(constants["fe.mel"]), np.log(1e-12))
    row = constants["fe.dct"].double().numpy() @ log_mel * 0.5
    np.testing.assert_allclose(coefficients(encoder, np.zeros(3200, np.float32))[3], row, rtol=1e-4, atol=1e-3)


def test_short_sounds_are_followed_by_silence_and_long_ones_cut(encoder, tone):
    short = coefficients(encoder, tone(0.05, 500))
    padded = coefficients(encoder, np.concatenate([tone(0.05, 500), np.zeros(8000, np.float32)]))
    torch.testing.assert_close(short, padded)
    torch.testing.assert_close(coefficients(encoder, tone(3, 500)), coefficients(encoder, tone(0.2, 500)))


def test_channels_are_averaged_and_other_rates_resampled(encoder, tone):
    stereo = np.stack([tone(0.2, 500) * 1.5, tone(0.2, 500) * 0.5])
    torch.testing.assert_close(coefficients(encoder, stereo), coefficients(encoder, tone(0.2, 500)))
    slow = tone(0.2, 500, 8000)
    library = pytest.importorskip("torchaudio.functional", exc_type=Exception)
    resampled = library.resample(torch.from_numpy(slow), 8000, 16000).numpy()
    torch.testing.assert_close(coefficients(encoder, slow, 8000), coefficients(encoder, resampled))


def test_identity_and_frozen_parts(encoder):
    module = KEYWORD.backbone(options(encoder), weights=True)
    assert set(module.u2a_base) == {"id", "revision", "sha256"}
    assert not any(name.startswith(("head", "fe")) for name, _ in module.named_parameters())
    assert KEYWORD.width(options(encoder)) == 16


def test_too_short_a_sound_is_refused(encoder, tone):
    with pytest.raises(BadSample, match="shorter than 30 ms"):
        coefficients(encoder, tone(0.02, 500))


def changed(encoder: Path, folder: Path, remove: str = "", config: str | None = None) -> Path:
    shutil.copytree(encoder, folder)
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if k != remove}, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(config)
    return folder


def test_incomplete_folders_are_refused_by_name(encoder, tmp_path):
    with pytest.raises(CheckpointError, match=r"has no front end: fe\.mel is missing"):
        KEYWORD.preprocessor(options(changed(encoder, tmp_path / "a", remove="fe.mel")))
    with pytest.raises(CheckpointError, match=r"does not fit config\.json.*pos_emb"):
        KEYWORD.backbone(options(changed(encoder, tmp_path / "b", remove="pos_emb")), weights=True)
    with pytest.raises(U2AError, match=r"config\.json: d_model: Field required"):
        KEYWORD.width(options(changed(encoder, tmp_path / "c", config="{}")))
    with pytest.raises(U2AError, match="No such file"):
        KEYWORD.width(options(tmp_path / "nowhere"))
    (tmp_path / "a" / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be read"):
        KEYWORD.backbone(options(tmp_path / "a"), weights=True)


def test_encoder_is_a_folder_relative_to_the_recipe(tmp_path):
    section = {"kind": "keyword", "encoder": "encoders/kwt1"}
    found = KEYWORD.options.model_validate(section, context={"folder": str(tmp_path)})
    assert found.encoder == str(tmp_path / "encoders" / "kwt1")
    with pytest.raises(ValidationError, match="folder on this machine"):
        KEYWORD.options.model_validate({"kind": "keyword", "encoder": "https://example.org/kwt1"})


def test_the_installed_distribution_registers_keyword():
    assert load_registry().owners["keyword"].distribution == "u2a-plugin-keyword"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published KWT-1 is not at {PUBLISHED}")
def test_the_published_checkpoint(tone):
    frames = coefficients(PUBLISHED, tone(0.7, 700))
    assert frames.shape == (98, 40)
    ours = hidden(PUBLISHED, frames)
    assert ours.shape == (99, 64)
    torch.testing.assert_close(ours.double(), reference(PUBLISHED, frames), atol=1e-4, rtol=1e-3)
    module = KEYWORD.backbone(options(PUBLISHED), weights=True)
    head = load_file(PUBLISHED / "model.safetensors")
    published = (
        sum(p.numel() for p in module.parameters()) + head["head.weight"].numel() + head["head.bias"].numel()
    )
    assert 606_000 < published < 608_000


@pytest.mark.skipif(not (PUBLISHED.is_dir() and DIGITS.is_dir()), reason="neither KWT-1 nor spoken digits here")
def test_the_published_features_tell_digits_apart():
    """Nearest class centre over other speakers' recordings, far above chance (.1)."""
    files = sorted((DIGITS / "audio").glob("*.wav"))
    speakers = sorted({file.stem.split("_")[1] for file in files})
    module = KEYWORD.backbone(options(PUBLISHED), weights=True).eval()
    preprocessor = KEYWORD.preprocessor(options(PUBLISHED))

    def features(speaker: str, takes: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = [f for d in range(10) for f in files if f.stem.split("_")[:2] == [str(d), speaker]]
        chosen = [f for f in chosen if int(f.stem.split("_")[2]) < takes]
        inputs = preprocessor.collate([preprocessor(f.read_bytes(), train=False, seed=0) for f in chosen])
        with torch.no_grad():
            cls = KEYWORD.encoder(module, KEYWORD.embedding(module, inputs))[:, 0]
        return cls, torch.tensor([int(f.stem[0]) for f in chosen])

    train = [features(speaker, 4) for speaker in speakers[:-1]]
    cls, label = torch.cat([one[0] for one in train]), torch.cat([one[1] for one in train])
    centres = torch.stack([cls[label == digit].mean(0) for digit in range(10)])
    test_cls, test_label = features(speakers[-1], 8)
    accuracy = (torch.cdist(test_cls, centres).argmin(1) == test_label).float().mean()
    assert accuracy > 0.4
