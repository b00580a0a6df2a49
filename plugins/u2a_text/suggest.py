"""What ``u2a init`` writes into a text section: an encoder by size and language, a length from the texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from u2a.contract.modality import Suggestion
from u2a.encoders.suggest import local_value, rounded_up, share_of
from u2a_text import encoders
from u2a_text.options import TextOptions
from u2a_text.spec import CONFIGS

LATIN = {
    "tiny": "sentence-transformers/paraphrase-MiniLM-L3-v2",
    "small": "sentence-transformers/all-MiniLM-L6-v2",
    "base": "google-bert/bert-base-uncased",
}
OTHER = {
    **dict.fromkeys(("tiny", "small"), "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"),
    "base": "FacebookAI/xlm-roberta-base",
}
MOST = 512
#: From here on texts are taken for ones in other scripts.
OTHER_LETTERS = 0.1
_PIECE = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")


def suggest(size: str, members: Sequence[bytes], given: Mapping[str, Any]) -> Suggestion | None:
    """None if no member is UTF-8 text."""
    texts = [text for member in members if (text := _text(member))]
    if not texts:
        return None
    ids, why = (OTHER, f"{size}, for many languages") if _other_script(texts) else (LATIN, f"{size}, English")
    options: dict[str, Any] = {"encoder": ids[size], **given}
    comments = {} if "encoder" in given else {"encoder": why}
    if "max_length" not in given:
        tokens = share_of([_tokens(text) for text in texts], 0.95)
        most = local_value(TextOptions, given, lambda chosen: encoders.max_tokens(chosen, CONFIGS)) or MOST
        options["max_length"] = min(max(rounded_up(tokens + 2, 16), 16), most, MOST)
        comments["max_length"] = f"tokens; about 19 of 20 texts have at most {tokens}"
    return Suggestion(options, comments)


def _text(member: bytes) -> str | None:
    try:
        return member.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None


def _tokens(text: str) -> int:
    """About how many word pieces a text is: long words are several, letters without spaces one each."""
    return sum(len(p) if ord(p[0]) > 0x2E80 else 1 + (len(p) - 1) // 7 for p in _PIECE.findall(text))


def _other_script(texts: Sequence[str]) -> bool:
    letters = [c for text in texts for c in text[:500] if c.isalpha()]
    return sum(not _latin(c) for c in letters) > OTHER_LETTERS * len(letters)


def _latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")
