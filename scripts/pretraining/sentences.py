"""Sentences for pretraining the quickstart's text encoder.

They use the words of the task, since an encoder has to know words, but in other sentences, and every noun is
drawn alike: nothing in them says which goods belong together.
"""

from __future__ import annotations

import re
import string

import numpy as np

from u2a_quickstart import text

GOODS = tuple(word for family in text.CARGO.values() for word in family)
_TASK = " ".join((*text.OPENINGS, *text.CARGOES, *text.CLOSINGS, *(w for s in text.SLOTS.values() for w in s)))
#: Every other word of the task's messages.
OTHER = tuple(sorted(set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", _TASK))) - set(GOODS)))
_COMMON = """
    bread fish salt rope paper glass wine honey soap candles hats shoes books bells nails bricks tea
    rice sugar horses sheep dogs cats children sailors farmers smiths bakers women men girls boys
    market street house garden river bridge field hill church school kitchen table door window road
    stone grass rain snow wind sun moon star old new small large heavy light cheap dear fine broken
    white black red green blue yellow brown grey warm cold sold bought saw found lost made carried
    painted counted left hid washed mended kept gave took wanted liked near under behind beside
    before after with without from into over again never often today yesterday soon monday friday
    summer winter morning night one four six seven nine hundred some many few no all every
"""
COMMON = tuple(_COMMON.split())
#: The goods of the task and as many other things, all alike to the sentences.
NOUNS = (*GOODS, *COMMON[:32])
PATTERNS = (
    "{w} {w} {w} the {n} in the {w}", "the {w} of {n} is {w}", "{n} or {n} {w}",
    "who has seen the {n} {w} the {w}",
    "she {w} the {n} and he {w} the {w}", "{n}, {w} and {n}", "a {w} {n} for a {w} {w}", "{w} {w} {w}",
    "in {w} they {w} {n} with {w}", "no {n} {w} today", "{w} by the {w}, {w} {w}", "{n}",
)  # fmt: skip
WORDS = tuple(
    sorted({*GOODS, *OTHER, *COMMON, *re.findall(r"[a-z]+", re.sub(r"\{\w\}", " ", " ".join(PATTERNS)))})
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def vocabulary() -> list[str]:
    """WordPiece units: special tokens, single characters (so that any text can be spelt), then whole words."""
    letters = [*string.ascii_lowercase, *string.digits]
    return list(dict.fromkeys([*SPECIAL, *string.punctuation, *letters, *(f"##{c}" for c in letters), *WORDS]))


def sentence(seed: int) -> str:
    """One to three clauses of words drawn at random."""
    rng = np.random.default_rng([3, seed])
    clauses = [PATTERNS[rng.integers(len(PATTERNS))] for _ in range(rng.integers(1, 4))]
    slots = {"n": NOUNS, "w": (*OTHER, *COMMON)}
    return text.fill(rng, ", ".join(clauses), slots) + "."
