"""What is exported computes what the model does; and what has no graph is said, by plugin, before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers as hf

from u2a.data.preprocessors import build_preprocessors
from u2a.errors import U2AError
from u2a.method.model import U2A
from u2a.method.selection import subsets
from u2a.plugins.loading import registry
from u2a.recipe.file import as_recipe
from u2a.runs.build import build_model
from u2a_export.graphs import MASK, BranchGraph, HeadGraph, as_given, given, with_mask
from u2a_export.tracing import trace

TEXTS = ("the old town", "sea", "two friends who find a small red boat")


def parts(encoders: dict[str, Any], fusion: str = "per_modality", **model: Any) -> tuple[U2A, dict[str, Any]]:
    """A model whose every learnable tensor does something, and its preprocessors."""
    recipe = as_recipe(
        {
            "name": "graphs",
            "data": {"shards": "none"},
            "task": {"classes": ["a", "b", "c"]},
            "modalities": encoders,
            "model": {"fusion": fusion, "mask_tokens": "per_target", "lora_rank": 2, **model},
            "training": {"device": "cpu"},
        }
    )
    network = build_model(recipe).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (p for p in network.parameters() if p.requires_grad):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network, build_preprocessors(recipe)


def three(checkpoints: dict[str, Path]) -> dict[str, Any]:
    return {
        "image": {"encoder": str(checkpoints["dinov2"])},
        "text": {"encoder": str(checkpoints["bert"])},
        "video": {"encoder": str(checkpoints["clip"]), "frames": 2},
    }


def examples(preprocessors: dict[str, Any]) -> dict[str, list[Any]]:
    members = {
        "image": [tiny.image_bytes(tiny.picture(seed=i)) for i in range(3)],
        "text": [text.encode() for text in TEXTS],
        "video": [tiny.clip_bytes(tiny.numbered_frames(5 + i)) for i in range(3)],
    }
    return {
        name: [p(member, train=False, seed=0) for member in members[name]] for name, p in preprocessors.items()
    }


@pytest.mark.parametrize("fusion", ["per_modality", "sum"])
def test_the_graphs_together_are_the_model(checkpoints: dict[str, Path], fusion: str) -> None:
    model, preprocessors = parts(three(checkpoints), fusion)
    read = examples(preprocessors)
    inputs = {name: p.collate(read[name]) for name, p in preprocessors.items()}
    with torch.no_grad():
        cls_BMD, mask_BMMD = model.encode(inputs, torch.ones(3, 3, dtype=torch.bool))
        model.merge_lora()
        for m, name in enumerate(model.names):
            tensors, frames = as_given(name, inputs[name])
            assert frames == (2 if name == "video" else 0)
            cls_PD, mask_PMD = BranchGraph(model, m, list(tensors), frames)(*tensors.values())
            torch.testing.assert_close(cls_PD, cls_BMD[:, m], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(mask_PMD, mask_BMMD[:, m], atol=1e-5, rtol=1e-5)
        for pattern in subsets(3):
            present_BM = torch.tensor([pattern] * 3)
            logits = HeadGraph(model)(cls_BMD, mask_BMMD, present_BM)
            torch.testing.assert_close(logits, model.classify(cls_BMD, mask_BMMD, present_BM))


def test_which_dimensions_are_free(checkpoints: dict[str, Path]) -> None:
    _, preprocessors = parts(three(checkpoints))
    read = examples(preprocessors)
    text = given("text", preprocessors["text"], read["text"])
    assert text.free == {"input_ids": (0, 1), "attention_mask": (0, 1)}
    alike = given("text", preprocessors["text"], read["text"][:1] * 2)  # lengths are free all the same
    assert alike.free == text.free
    video = given("video", preprocessors["video"], read["video"])
    assert (video.tensors["pixel_values"].shape, video.free) == ((3, 2, 3, 32, 32), {"pixel_values": (0,)})
    uneven = {"pixel_values": torch.zeros(3, 1), "rows_P": torch.tensor([1, 2])}
    with pytest.raises(U2AError, match=r"video: its samples have \[1, 2\] rows"):
        as_given("video", uneven)


@pytest.mark.parametrize("adapted", [{}, {"adapt_blocks": 1}], ids=str)
def test_a_traced_graph_takes_any_batch_and_length(
    checkpoints: dict[str, Path], adapted: dict[str, Any]
) -> None:
    model, preprocessors = parts({"text": {"encoder": str(checkpoints["bert"])}}, **adapted)
    assert next(model.each_branch()).n_frozen == len(adapted)
    read = examples(preprocessors)["text"]
    made = trace(model, {"text": given("text", preprocessors["text"], read)})
    assert list(made) == ["text", "head"]
    graph: Any = made["text"].module()
    for some in (read[1:2], read[:2], [*read, *read]):
        inputs = preprocessors["text"].collate(some)
        with torch.no_grad():
            cls_BMD, _ = model.encode({"text": inputs}, torch.ones(len(some), 1, dtype=torch.bool))
            cls_PD, _ = graph(*as_given("text", inputs)[0].values())
        torch.testing.assert_close(cls_PD, cls_BMD[:, 0], atol=1e-5, rtol=1e-5)


ROWS = {"age": {"mean": 40, "std": 10}, "city": {"values": ["Lima", "Oslo"]}}
#: Kinds of plugins that are distributions of their own: their options, and samples.
OTHERS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "tabular": (
        {"columns": ROWS, "width": 16, "layers": 1},
        [{"age": 30}, {"city": "Oslo"}, {"age": 51, "city": "Lima"}],
    ),
    "features": (
        {"size": 2, "width": 16, "layers": 1, "longest": 8},
        [[[1, 2], [3, 4]], [[0, 1]], [[5, 6], [7, 8], [9, 9]]],
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_graph_of_another_distributions_kind_takes_any_batch(kind: str) -> None:
    if kind not in registry().specs:
        pytest.skip(f"u2a-plugin-{kind} is not installed")
    options, values = OTHERS[kind]
    to_member: Any = registry().specs[kind].to_member
    model, preprocessors = parts({kind: options})
    read = [preprocessors[kind](to_member(value), train=False, seed=0) for value in values]
    traced = given(kind, preprocessors[kind], read)
    assert traced.free == (
        {"values": (0, 1), MASK: (0, 1)} if kind == "features" else dict.fromkeys(traced.tensors, (0,))
    )
    graph: Any = trace(model, {kind: traced})[kind].module()
    for some in (read[:1], read[:2], [*read, *read]):
        inputs = preprocessors[kind].collate(some)
        tensors = as_given(kind, inputs)[0]
        arguments = with_mask(tensors, "values") if kind == "features" else tensors
        with torch.no_grad():
            wanted, _ = model.encode({kind: inputs}, torch.ones(len(some), 1, dtype=torch.bool))
            found, _ = graph(*arguments.values())
        torch.testing.assert_close(found, wanted[:, 0], atol=1e-5, rtol=1e-5)


def test_what_has_no_graph_is_said_with_its_plugin(tmp_path: Path) -> None:
    """wav2vec2's rows are cut to their own lengths: what is computed hangs on values."""
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = hf.Wav2Vec2Config(
        **sizes,
        intermediate_size=64,
        conv_dim=(16, 16),
        conv_stride=(20, 16),
        conv_kernel=(20, 16),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    tiny.save(hf.Wav2Vec2Model(config), tmp_path)
    hf.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    model, preprocessors = parts({"audio": {"encoder": str(tmp_path)}})
    members = [tiny.sound_bytes(tiny.tone(seconds)) for seconds in (0.3, 0.2, 0.4)]
    read = [preprocessors["audio"](member, train=False, seed=0) for member in members]
    with pytest.raises(U2AError) as caught:
        trace(model, {"audio": given("audio", preprocessors["audio"], read)})
    assert str(caught.value) == (
        "modality 'audio' (plugin 'audio' of u2a 0.1.0) cannot be exported: its encoder computes with the "
        "values of its inputs (lengths, say), which a graph cannot do"
    )
