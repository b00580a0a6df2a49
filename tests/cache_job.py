"""One process that reads a whole remote split; started from test_cache.py.

usage: cache_job.py URL CACHE LIMIT OUT [UID GID] : the samples' bytes in hex, a line each, to OUT; as that
user, of that group alone and with its umask, 002
"""

import os
import sys
from pathlib import Path

import fsspec.implementations.http  # noqa: F401  # now: the other user may not read where Python lies

from u2a.data.reading.split import open_split
from u2a.data.storage.cache import Cache

if __name__ == "__main__":
    url, folder, limit, out, *user = sys.argv[1:]
    if user:
        os.umask(0o002)
        os.setgroups([])
        os.setgid(int(user[1]))
        os.setuid(int(user[0]))
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
