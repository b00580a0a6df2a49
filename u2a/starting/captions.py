"""Files that belong together although one has a word more in its name: ``00.jpg`` and ``00_caption.txt``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

Samples = Mapping[str, Mapping[str, str]]
_BEHIND = re.compile(r"(.+?)[._-]([A-Za-z]+)")


def joined(samples: Samples) -> dict[str, dict[str, str]]:
    """Samples by key, files by extension; those of one more word are put to the sample without it.

    Only where most files with this word have such a sample and bring another kind of file.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for key in samples:
        if match := _BEHIND.fullmatch(key):
            found[match[2]][key] = match[1]
    kept = {key: dict(files) for key, files in samples.items()}
    for own in found.values():
        fits = {key: to for key, to in own.items() if to in kept and not kept[to].keys() & samples[key].keys()}
        if 2 * len(fits) > max(len(own), 2):
            for key, to in fits.items():
                kept[to] |= kept.pop(key)
    return kept
