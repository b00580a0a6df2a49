"""The text plugin: tokens, padding and masks, against transformers' own BERT and RoBERTa."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
import transformers as hf

from u2a.contract.modality import Tokens
from u2a.errors import BadSample, NoContent, RecipeError, U2AError
from u2a_text.spec import TEXT

TEXTS = ["the sea", "two friends find a small red boat in the old town", "a film about the sea"]


def options(folder: Path, **more: object):
    return TEXT.options.model_validate({"kind": "text", "encoder": str(folder), **more})


def batch(folder: Path, texts: list[str], **more: object):
    preprocessor = TEXT.preprocessor(options(folder, **more))
    return preprocessor.collate([preprocessor(t.encode(), train=False, seed=0) for t in texts])


def append(tokens: Tokens, token_D: torch.Tensor) -> Tokens:
    """What the core does: one more position at the end, marked valid."""
    rows = tokens.hidden_NLD.shape[0]
    hidden = torch.cat([tokens.hidden_NLD, token_D.expand(rows, 1, -1)], dim=1)
    valid = torch.cat([tokens.valid_NL, torch.ones(rows, 1, dtype=torch.bool)], dim=1)
    return replace(tokens, hidden_NLD=hidden, valid_NL=valid)


@torch.no_grad()
def test_hidden_states_equal_transformers_own(checkpoints):
    module = TEXT.backbone(options(checkpoints["bert"]), weights=True).eval()
    reference = hf.BertModel.from_pretrained(checkpoints["bert"]).eval()
    inputs = batch(checkpoints["bert"], TEXTS)
    tokens = TEXT.embedding(module, inputs)
    assert tokens.cls == (0,)
    assert tokens.valid_NL.sum(1).tolist() == [4, 13, 7]
    wanted = reference(**inputs).last_hidden_state
    torch.testing.assert_close(TEXT.encoder(module, tokens), wanted)
    assert TEXT.width(options(checkpoints["bert"])) == 32


@torch.no_grad()
def test_class_and_mask_token_do_not_depend_on_padding(checkpoints):
    module = TEXT.backbone(options(checkpoints["bert"]), weights=True).eval()
    token = torch.randn(32)
    together = TEXT.encoder(module, append(TEXT.embedding(module, batch(checkpoints["bert"], TEXTS)), token))
    for row, text in enumerate(TEXTS):
        alone = TEXT.encoder(module, append(TEXT.embedding(module, batch(checkpoints["bert"], [text])), token))
        torch.testing.assert_close(together[row, [0, -1]], alone[0, [0, -1]])
    assert not torch.allclose(together[0, -1], together[1, -1], atol=1e-3)


@torch.no_grad()
def test_a_token_fits_behind_a_text_that_uses_every_position(checkpoints):
    inputs = batch(checkpoints["bert"], ["sea " * 40])
    assert inputs["input_ids"].shape == (1, 24)
    module = TEXT.backbone(options(checkpoints["bert"]), weights=True).eval()
    token = torch.randn(32)
    ours = TEXT.encoder(module, append(TEXT.embedding(module, inputs), token))
    reference = hf.BertModel.from_pretrained(checkpoints["bert"]).eval()
    reference.embeddings.register_forward_hook(lambda m, a, out: torch.cat([out, token.expand(1, 1, 32)], 1))
    wanted = reference(inputs["input_ids"], attention_mask=torch.ones(1, 25, dtype=torch.long))
    torch.testing.assert_close(ours, wanted.last_hidden_state)


@torch.no_grad()
def test_roberta_counts_positions_from_its_padding(tmp_path):
    config = hf.RobertaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=40
    )
    config.max_position_embeddings = 18
    folder = tiny.save(hf.RobertaModel(config), tmp_path / "r")
    chosen = options(folder)
    module = TEXT.backbone(chosen, weights=True).eval()
    ids = torch.tensor([[0, 7, 9, 2, 1, 1], [0, 5, 6, 7, 8, 2]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 1).long()}
    ours = TEXT.encoder(module, TEXT.embedding(module, inputs))
    wanted = hf.RobertaModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
    torch.testing.assert_close(ours, wanted)
    assert [len(block) for block in TEXT.lora_targets(module)] == [4, 4]
    with pytest.raises(U2AError, match="has no tokenizer files"):
        TEXT.preprocessor(chosen)
    tiny.save_unigram(folder)
    preprocessor = TEXT.preprocessor(chosen)
    assert preprocessor.max_length == 16
    padded = preprocessor.collate([preprocessor(t, train=False, seed=0) for t in (b"red ship", b"red")])
    assert padded["input_ids"][1].tolist()[3:] == [1]  # its padding id, from which positions are counted


def test_ids_equal_the_vocabulary_by_hand(checkpoints):
    vocabulary = tiny.bert_vocabulary()
    words = ["[CLS]", "the", "sea", "x", "##y", "[SEP]"]
    inputs = batch(checkpoints["bert"], ["The SEA xy", "sea"])
    assert inputs["input_ids"][0].tolist() == [vocabulary.index(word) for word in words]
    assert inputs["input_ids"][1].tolist()[3:] == [0, 0, 0]
    assert inputs["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]


def test_long_texts_are_cut_and_keep_their_end_token(checkpoints):
    ids = batch(checkpoints["bert"], ["sea " * 100], max_length=5)["input_ids"][0].tolist()
    assert len(ids) == 5
    assert ids[-1] == tiny.bert_vocabulary().index("[SEP]")
    with pytest.raises(RecipeError, match="max_length = 25 is more than the 24 tokens"):
        TEXT.preprocessor(options(checkpoints["bert"], max_length=25))


def test_a_tokenizers_own_padding_and_cutting_are_overruled(tmp_path, checkpoints):
    folder = Path(shutil.copytree(checkpoints["bert"], tmp_path / "b"))
    tokenizer = hf.AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.backend_tokenizer.enable_padding(length=20)
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.save_pretrained(folder)
    ours, plain = batch(folder, TEXTS), batch(checkpoints["bert"], TEXTS)
    assert all(torch.equal(ours[name], plain[name]) for name in plain)
    cut = batch(folder, TEXTS, max_length=6)
    assert torch.equal(cut["input_ids"], batch(checkpoints["bert"], TEXTS, max_length=6)["input_ids"])


def test_vocab_txt_alone_is_enough(tmp_path, checkpoints):
    folder = Path(shutil.copytree(checkpoints["bert"], tmp_path / "b"))
    (folder / "tokenizer.json").unlink()
    assert torch.equal(batch(folder, TEXTS)["input_ids"], batch(checkpoints["bert"], TEXTS)["input_ids"])


def test_files_of_another_tokenizer_are_not_taken_for_one_without_words(tmp_path, checkpoints):
    folder = Path(shutil.copytree(checkpoints["bert"], tmp_path / "b"))
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (folder / name).unlink()
    (folder / "spiece.model").write_bytes(b"")
    with pytest.raises(
        U2AError, match=r"knows no word: its files \(spiece.model\) .*copy tokenizer.json there"
    ):
        batch(folder, TEXTS)
    (folder / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(U2AError, match=r"has vocab.json without merges.txt"):
        batch(folder, TEXTS)


def test_the_preprocessor_pickles_small(checkpoints):
    preprocessor = TEXT.preprocessor(options(checkpoints["bert"]))
    before = preprocessor(b"the sea", train=True, seed=0)["input_ids"]
    data = pickle.dumps(preprocessor)
    assert len(data) < 1000
    assert torch.equal(pickle.loads(data)(b"the sea", train=False, seed=1)["input_ids"], before)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        ("\ufeff ".encode(), "empty"),
        (b"caf\xe9 noir", r"not UTF-8 \(byte 3\)"),
    ],
)
def test_unusable_texts_say_why(checkpoints, member, reason):
    with pytest.raises(BadSample, match=reason):
        TEXT.preprocessor(options(checkpoints["bert"]))(member, train=False, seed=0)


def test_a_text_that_the_tokenizer_makes_nothing_of_is_missing(checkpoints):
    preprocessor = TEXT.preprocessor(options(checkpoints["bert"]))
    with pytest.raises(NoContent, match="no token of its own"):
        preprocessor("\u0301 \u0302".encode(), train=False, seed=0)  # accents, which its normalizer strips


def test_python_strings_become_members():
    assert TEXT.to_member("café") == "café".encode()
    with pytest.raises(BadSample, match="must be a str"):
        TEXT.to_member(b"bytes")
