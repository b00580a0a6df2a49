"""A plugin's parts are built as it was imported: what fails is blamed on it, and it changes nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from u2a.common.terminal import console
from u2a.contract.blame import Owner, blame
from u2a.plugins.guard import put_back

_BUILDING = threading.RLock()  # what is put back is the process's
#: What drawing weights changes, of everybody's.
_DRAWN = ("torch's seed", "numpy's seed", "random's seed")
_told: set[tuple[Owner, str]] = set()


@contextmanager
def building(name: str, owner: Owner, part: str) -> Iterator[list[str]]:
    """`blame`, and global state is put back that the plugin changes; it is told of once.

    Yields:
        The names of what was changed, once the block is left.
    """
    changed: list[str] = []
    with blame(name, owner, part):
        if owner.distribution == "u2a":  # ours are known
            yield changed
            return
        with _BUILDING, put_back(changed):
            yield changed
    changed[:] = [one for one in changed if one not in _DRAWN]
    if changed and (owner, part) not in _told:
        _told.add((owner, part))
        text = f"{owner}: {part} changed {', '.join(changed)}; it was put back"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
