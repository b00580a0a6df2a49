"""Running statistics of a frozen backbone stay the checkpoint's; of one trained whole they go on."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import tiny
import torch
import transformers as hf
from torch import nn

from u2a.contract.blame import Owner
from u2a.method.branch import UnimodalBranch
from u2a.method.held import hold_statistics
from u2a_audio.spec import AUDIO

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
STEM = {"conv_dim": [16, 16], "conv_stride": [20, 16], "conv_kernel": [40, 16], "num_feat_extract_layers": 2}
HUBERT = {**SIZES, **STEM, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
HUBERT |= {"conv_pos_batch_norm": True}


@pytest.mark.parametrize("tune", ["lora", "frozen", "full"])
def test_a_frozen_encoder_with_batch_norm_is_in_training_what_it_is_when_loaded(tmp_path: Path, tune) -> None:
    tiny.save(hf.HubertModel(hf.HubertConfig(**HUBERT)), tmp_path)
    hf.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    options = AUDIO.options.model_validate({"kind": "audio", "encoder": str(tmp_path), "tune": tune})
    reader = AUDIO.preprocessor(options)
    inputs = reader.collate([reader(tiny.sound_bytes(tiny.tone()), train=False, seed=0)])
    branch = UnimodalBranch(
        "audio",
        AUDIO.chosen(options),
        options,
        Owner("audio", "u2a", "0"),
        AUDIO.backbone(options, weights=True),
        width=32,
        n_mask_tokens=1,
        lora={"rank": 1, "alpha": 1.0, "dropout": 0.0},
    )
    loaded = hf.HubertModel.from_pretrained(tmp_path).eval()
    for _ in range(3):  # as a training and its validations do, and whoever turns the backbone alone
        branch.train()
        branch.backbone.train()
        branch(inputs)
        branch.eval()
    wanted = loaded(**inputs).last_hidden_state
    found = AUDIO.encoder(branch.backbone, AUDIO.embedding(branch.backbone, inputs))
    assert torch.allclose(found, wanted, atol=1e-5) == (tune != "full")
    moved = dict(branch.backbone.named_buffers())["encoder.pos_conv_embed.batch_norm.num_batches_tracked"]
    assert moved == (3 if tune == "full" else 0)


def test_only_what_keeps_statistics_is_held_and_a_copy_has_its_own() -> None:
    net = nn.Sequential(
        nn.Conv1d(2, 4, 1),
        nn.BatchNorm1d(4),
        nn.InstanceNorm1d(4, track_running_stats=True),
        nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)),
        nn.LayerNorm(3),
        nn.Dropout(0.5),
    )
    plain = copy.deepcopy(net)
    hold_statistics(net)
    for one in (net, copy.deepcopy(net)):
        before = {name: buffer.clone() for name, buffer in one.named_buffers()}
        assert before
        one.train()
        one(torch.randn(5, 2, 3))
        assert all(torch.equal(buffer, before[name]) for name, buffer in one.named_buffers())
        assert [m.training for m in one] == [True, False, False, True, True, True]
    stored = pickle.loads(pickle.dumps(net[:3])).train()
    assert [m.training for m in stored] == [True, False, False]
    assert stored[1].train.args[0] is stored[1]
    plain.train()
    with torch.no_grad():
        assert not torch.equal(plain(torch.randn(5, 2, 3)), net(torch.randn(5, 2, 3)))
    assert plain[1].num_batches_tracked == 1
