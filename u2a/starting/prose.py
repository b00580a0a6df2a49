"""What somebody wrote, told from dates, amounts and lists of numbers, which have spaces as well."""

from __future__ import annotations

import re

#: Letters that are looked at.
MOST = 2_000
#: Letters of scripts that write no spaces between words: Thai to Myanmar, Khmer, Chinese and Japanese.
_NO_SPACES = re.compile("[\u0e00-\u109f\u1780-\u17ff\u2e80-\U0003ffff]")
_AROUND = ".,;:!?()[]{}\"'<>"
#: Words of dates and of lists of numbers.
_OF_FIGURES = re.compile(
    r"(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?|(jan|febr?)(uary)?|mar(ch)?|apr(il)?|may|june?|july?|"
    r"aug(ust)?|(sept?|octo?|nov|dec)(em)?(ber)?|am|pm|utc|gmt|nan|inf|none|null|true|false"
)


def has_words(text: str) -> bool:
    """Whether a text has words as people write them: two, or one and signs.

    Of words as short as units, and of data in brackets, there are more letters than figures.

    ``5 km``, ``Mon Jan 5 10:00:00 2026`` and ``[1.5, nan]`` have none.
    """
    text = text[:MOST].strip()
    digits = sum(map(str.isdigit, text))
    parts = [part.strip(_AROUND) for part in text.split()]
    words = [one for one in parts if any(map(str.isalpha, one)) and not any(map(str.isdigit, one))]
    words = [one for one in words if _OF_FIGURES.fullmatch(one.casefold()) is None]
    if len(words) > 1 and max(map(len, words)) > 2 and text[0] not in "[{":
        return True  # a line of a log, a sum in words
    if sum(map(str.isalpha, text)) <= 2 * digits:
        return False
    if _NO_SPACES.search(text):
        return True
    return len(words) > 1 or (len(words) == 1 and not digits and len(parts) > 1)
