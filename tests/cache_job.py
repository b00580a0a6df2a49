"""One process that reads a whole remote split; started from test_cache.py.

usage: cache_job.py URL CACHE LIMIT OUT : the samples' bytes in hex, a line each, to OUT
"""

import sys
from pathlib import Path

from u2a.data.reading.split import open_split
from u2a.data.storage.cache import Cache

if __name__ == "__main__":
    url, folder, limit, out = sys.argv[1:]
    split = open_split(
        url,
        "train",
        modalities=("image", "text"),
        classes=("sea", "boat", "town", "film"),
        multi_label=False,
        cache=Cache(Path(folder), int(limit)),
    )
    order = [(i * 7) % len(split) for i in range(len(split))]
    found = {i: split.members(i, ("image", "text")) for i in order}
    lines = [(found[i]["image"] + found[i]["text"]).hex() for i in range(len(split))]
    Path(out).write_text("\n".join(lines))
