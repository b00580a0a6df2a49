"""Texts as transformers' own classes read them, where these put something on top of a tokenizer's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from u2a.errors import U2AError
from u2a_text.spec import TEXT

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
RESIDUES = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
PIECES = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyzRSEDH!"]


def options(folder: Path):
    return TEXT.options.model_validate({"kind": "text", "encoder": str(folder)})


def ids(folder: Path, text: str) -> list[int]:
    return TEXT.preprocessor(options(folder))(text.encode(), train=False, seed=0)["input_ids"].tolist()


def marked(folder: Path) -> Path:
    """A BERT that was trained with markers of entities, saved by transformers."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "ship", "[", "]", "/", "sep", "e", "##1"]
    made = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name.lower()}_token": f"[{name}]" for name in ("CLS", "SEP", "PAD", "UNK", "MASK")}
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=made, **names)
    fast.add_special_tokens({"additional_special_tokens": ["[E1]", "[/E1]"]})
    fast.save_pretrained(folder)
    config = hf.BertConfig(**SIZES, vocab_size=15, max_position_embeddings=40)
    return tiny.save(hf.BertModel(config), folder)


def test_markers_that_were_added_are_read_and_what_texts_are_built_with_is_not(tmp_path: Path) -> None:
    folder = marked(tmp_path)
    text = "red [E1] ship [/E1]"
    assert ids(folder, text) == hf.AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    assert ids(folder, text) == [2, 5, 13, 6, 14, 3]
    assert ids(folder, "red [SEP]") == [2, 5, 7, 10, 8, 3], "typed, it is text"
    assert ids(folder, "[E1]") == [2, 13, 3], "a text of its own"
    constants = TEXT.preprocessor(options(folder)).constants()
    assert constants["reader"] == "tokenizer", "a program without u2a reads them too"
    elsewhere = Tokenizer.from_str(constants["files"]["tokenizer.json"])
    elsewhere.encode_special_tokens = True
    assert elsewhere.encode(text + " [SEP]").ids == ids(folder, text + " [SEP]")


def test_tokens_that_no_file_names_are_known_by_their_use(tmp_path: Path) -> None:
    folder = marked(tmp_path)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    assert ids(folder, "red [SEP] [E1]") == [2, 5, 7, 10, 8, 13, 3]


def siglip(folder: Path, model: type, config: object) -> Path:
    tiny.save(model(config), folder)
    vocabulary = {piece: n for n, piece in enumerate(PIECES)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    made.add_special_tokens(PIECES[:5])
    made.save(str(folder / "tokenizer.json"))
    names = {f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk", "mask")}
    tiny.write_json(folder, "tokenizer_config.json", {"tokenizer_class": "GemmaTokenizer", **names})
    return folder


WORDS = {**SIZES, "vocab_size": len(PIECES), "max_position_embeddings": 16, "projection_size": 32}
WORDS |= {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}


def test_siglip_2_reads_lower_case(tmp_path: Path) -> None:
    vision = {**SIZES, "patch_size": 8, "num_patches": 16}
    config = hf.Siglip2Config(text_config=WORDS, vision_config=vision)
    folder = siglip(tmp_path, hf.Siglip2Model, config)
    known = hf.AutoTokenizer.from_pretrained(folder)
    for text in ("Red SHED!", "red shed", "  Ä"):
        assert ids(folder, text) == known(text)["input_ids"], text
    known.save_pretrained(folder)  # as transformers writes it, the lower case is in the file
    assert ids(folder, "Red SHED!") == known("red shed!")["input_ids"]


def test_siglip_reads_lower_case_without_punctuation(tmp_path: Path) -> None:
    folder = siglip(tmp_path, hf.SiglipTextModel, hf.SiglipTextConfig(**WORDS))
    assert ids(folder, " Red, \n SHED! ") == ids(folder, "red shed")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    tiny.write_json(folder, "tokenizer_config.json", {**settings, "do_lower_case": False})
    assert ids(folder, "RED!") != ids(folder, "red!")


def esm(folder: Path) -> Path:
    config = hf.EsmConfig(
        **SIZES, vocab_size=33, mask_token_id=32, pad_token_id=1, position_embedding_type="rotary"
    )
    tiny.save(hf.EsmForMaskedLM(config), folder)
    (folder / "vocab.txt").write_text(RESIDUES.replace(" ", "\n"))
    tiny.write_json(folder, "tokenizer_config.json", {"tokenizer_class": "EsmTokenizer"})
    return folder


@torch.no_grad()
def test_a_protein_is_read_as_esm_reads_it(tmp_path: Path) -> None:
    folder = esm(tmp_path)
    known = hf.AutoTokenizer.from_pretrained(folder)
    for text in ("MKTAYIAKQR", "M K\nTA", "MKxyTA", "mkt", "M*-.A", "<null_1>MK", "MKJA"):
        assert ids(folder, text) == known(text)["input_ids"], text
    preprocessor = TEXT.preprocessor(options(folder))
    examples = [preprocessor(text, train=False, seed=0) for text in (b"MKTAYIAKQR", b"MKT")]
    inputs = preprocessor.collate(examples)
    backbone = TEXT.backbone(options(folder), weights=True).eval()
    tokens = TEXT.embedding(backbone, inputs)
    wanted = hf.EsmModel.from_pretrained(folder).eval()(**inputs).last_hidden_state
    valid = inputs["attention_mask"].bool()
    torch.testing.assert_close(TEXT.encoder(backbone, tokens)[valid], wanted[valid])


def test_a_tokenizer_in_python_alone_is_refused_by_name(tmp_path: Path) -> None:
    tiny.save(hf.BertModel(hf.BertConfig(**SIZES, vocab_size=40)), tmp_path)
    (tmp_path / "vocab.txt").write_text("red 10\nr@@ 8\n")
    (tmp_path / "bpe.codes").write_text("r e 1\n")
    tiny.write_json(tmp_path, "tokenizer_config.json", {"tokenizer_class": "PhobertTokenizer"})
    with pytest.raises(U2AError, match=r"PhobertTokenizer is written in Python alone; a tokenizer\.json is"):
        ids(tmp_path, "red")
