"""A checkpoint's tokenizer, as ``tokenizer.json`` states it, made once for each length and never changed.

transformers' classes put their own defaults over the file (a cased one is read lower-cased where
``tokenizer_config.json`` does not say otherwise; what they put there for every checkpoint of a kind is in
`u2a_text.on_top`), and keep the length to cut to in a state that all callers
share. So the file is read by the library that wrote it, and each length has a tokenizer of its own.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from u2a.encoders.files import read_json
from u2a.encoders.quiet import quiet
from u2a.errors import U2AError, one_line
from u2a_text.on_top import keeps_capitals, lowered, of_residues, ordinary_tokens

FILE = "tokenizer.json"
OTHER_FILES = ("vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")


@lru_cache(maxsize=64)
def load_tokenizer(folder: Path, max_length: int, version: str = "") -> Tokenizer:
    """The tokenizer of a checkpoint folder, which cuts to ``max_length`` and does not pad; loaded once.

    Nobody may change what this returns: threads and modalities share it.

    Args:
        version: a hash of the tokenizer's files, so that changed files are read again.

    Raises:
        U2AError: the folder holds none, or one that cannot be read.
    """
    tokenizer = lowered(ordinary_tokens(_read(folder), folder), folder)
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # "[SEP]" that somebody typed is text, not markup
    side = _truncation_side(folder, tokenizer)
    tokenizer.enable_truncation(max_length, direction=side)
    return tokenizer


def check_tokenizer(tokenizer: Tokenizer, folder: Path, rows: int, *, class_token: bool) -> None:
    """Refuse ids that the encoder has no embedding for, and a first token that is no class token.

    Args:
        rows: of the word embedding, config.json's ``vocab_size``.
        class_token: whether the first position is read as the class token.

    Raises:
        U2AError: names file and key.
    """
    path = folder / (FILE if (folder / FILE).is_file() else "tokenizer_config.json")
    _check_case(tokenizer, folder)
    word, largest = max(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])
    if largest >= rows:
        raise U2AError(
            f"{path}: gives {word!r} the id {largest}, but config.json's vocab_size is {rows}: "
            "the tokenizer belongs to another checkpoint"
        )
    if not class_token:
        return
    alone = tokenizer.encode("").ids
    if not alone or tokenizer.encode("a").ids[:1] != alone[:1]:
        raise U2AError(
            f"{path}: puts no class token before a text (it has no post_processor that does); "
            "save the tokenizer again from the original checkpoint"
        )
    _check_named(tokenizer, folder, path, alone[0])


def _check_case(tokenizer: Tokenizer, folder: Path) -> None:
    """Refuse capitals that the checkpoint was not trained on, and a lower case that its words do not have."""
    sentences = folder / "sentence_bert_config.json"
    lowers = not keeps_capitals(tokenizer)
    if sentences.is_file() and read_json(folder, sentences.name).get("do_lower_case") is True and not lowers:
        raise U2AError(
            f"{sentences}: do_lower_case is true, and the tokenizer beside it keeps capitals: "
            "save the tokenizer with a normalizer that lower-cases"
        )
    settings = folder / "tokenizer_config.json"
    stated = settings.is_file() and "do_lower_case" in read_json(folder, settings.name)
    if stated or (folder / FILE).is_file() or not lowers:
        return
    words = [word for word in tokenizer.get_vocab(with_added_tokens=False) if not word.startswith(("[", "<"))]
    capital = [word for word in words if word != word.lower()]
    if len(capital) > len(words) // 100:
        raise U2AError(
            f"{folder} has words in capitals ({min(capital)!r}), and neither {FILE} nor do_lower_case in "
            "tokenizer_config.json, without which all is lower-cased: copy them from the original checkpoint"
        )


def check_end(tokenizer: Tokenizer, folder: Path, end: int | None) -> None:
    """Refuse a tokenizer that does not end a text, also one that was cut, with the encoder's last token.

    Args:
        end: config.json's ``eos_token_id``; 2 stands in old CLIP files for whatever the tokenizer has.

    Raises:
        U2AError: names the file.
    """
    path = folder / (FILE if (folder / FILE).is_file() else "tokenizer_config.json")
    last = [tokenizer.encode(text).ids[-1:] for text in ("", "a", "a " * 4096)]
    if not last[0] or any(ids != last[0] for ids in last) or (end not in (None, 2) and last[0] != [end]):
        raise U2AError(
            f"{path}: does not end every text with the encoder's end-of-text token, where its class token is; "
            "save the tokenizer again from the original checkpoint"
        )


def padding_id(tokenizer: Tokenizer, folder: Path, otherwise: int) -> int:
    """The id of tokenizer_config.json's ``pad_token``, if it names one."""
    settings = (
        read_json(folder, "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    )
    name = _text(settings.get("pad_token"))
    found = None if name is None else tokenizer.token_to_id(name)
    return otherwise if found is None else found


def is_word_piece(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer is BERT's, as it was published: one that a few lines of Python can stand in for."""
    made = json.loads(tokenizer.to_str())
    kinds = [(made[part] or {}).get("type") for part in ("model", "normalizer", "pre_tokenizer")]
    if kinds != ["WordPiece", "BertNormalizer", "BertPreTokenizer"] or len(tokenizer.encode("").ids) != 2:
        return False
    added = [one for one in made["added_tokens"] if not one["special"]]
    return not added and (tokenizer.truncation or {}).get("direction", "right").lower() == "right"


def _check_named(tokenizer: Tokenizer, folder: Path, path: Path, first: int) -> None:
    if not (folder / "tokenizer_config.json").is_file():
        return
    settings = read_json(folder, "tokenizer_config.json")
    names = [_text(settings.get(key)) for key in ("cls_token", "bos_token")]
    ids = [tokenizer.token_to_id(name) for name in names if name]
    known = [number for number in ids if number is not None]
    if known and first not in known:
        raise U2AError(
            f"{path}: begins a text with {tokenizer.id_to_token(first)!r}, but tokenizer_config.json's "
            f"cls_token is {names[0] or names[1]!r}: the two belong to different checkpoints"
        )


def _text(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token


def _read(folder: Path) -> Tokenizer:
    if (folder / FILE).is_file():
        try:
            return Tokenizer.from_file(str(folder / FILE))
        except Exception as error:  # the library raises bare Exceptions
            raise U2AError(f"{folder / FILE} cannot be read: {one_line(error, 200)}") from None
    if (folder / "vocab.json").is_file() and not (folder / "merges.txt").is_file():
        raise U2AError(
            f"{folder} has vocab.json without merges.txt, so that it would read letters: copy that too"
        )
    if not _there(folder) and (pieces := sorted(path.name for path in folder.glob("*.model"))):
        raise U2AError(
            f"{folder} has {pieces[0]} and no {FILE}; write one once, with sentencepiece installed: "
            "transformers.AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
        )
    if not _there(folder):
        raise U2AError(f"{folder} has no tokenizer files ({FILE}, {OTHER_FILES[0]}): copy them there")
    return _converted(folder)


def _converted(folder: Path) -> Tokenizer:
    """From a vocabulary that transformers knows how to read; a copy, so that nothing of it is shared."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            known: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if type(known).__name__ == "EsmTokenizer":
            return of_residues(known)
        if not hasattr(known, "backend_tokenizer"):
            raise U2AError(f"{type(known).__name__} is written in Python alone; a {FILE} is needed")
        tokenizer = Tokenizer.from_str(known.backend_tokenizer.to_str())
    except Exception as error:  # of many kinds, from two libraries
        raise U2AError(f"the tokenizer in {folder} cannot be read: {one_line(error, 200)}") from None
    if not tokenizer.get_vocab(with_added_tokens=False).keys() - set(known.all_special_tokens):
        raise U2AError(  # a class that did not find its files invents such a one
            f"the tokenizer in {folder} knows no word: its files ({', '.join(_there(folder))}) are not those "
            f"of a {type(known).__name__}; copy {FILE} there"
        )
    return tokenizer


def _there(folder: Path) -> list[str]:
    return [name for name in OTHER_FILES if (folder / name).is_file()]


def _truncation_side(folder: Path, tokenizer: Tokenizer) -> str:
    """``truncation_side`` of tokenizer_config.json, else what tokenizer.json was saved with, else right."""
    given = None
    if (folder / "tokenizer_config.json").is_file():
        given = read_json(folder, "tokenizer_config.json").get("truncation_side")
    side = given or (tokenizer.truncation or {}).get("direction", "right")
    if str(side).lower() not in ("left", "right"):
        raise U2AError(f"{folder / 'tokenizer_config.json'}: truncation_side is {side!r}; it is left or right")
    return str(side).lower()
