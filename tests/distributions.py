"""Small installed distributions without pip: module, metadata and entry points on a folder of `sys.path`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from u2a.plugins.loading import forget


def install(
    site: Path,
    name: str,
    entries: dict[str, str],
    *,
    version: str = "1.0",
    code: str | None = None,
    brings: str = "",
) -> None:
    """Make ``site`` hold the distribution `name` with entry points of the group ``u2a`` (name to module).

    Args:
        code: the source of the module of the first entry; None if it is there already.
        brings: a kind that its entry points say they bring, e.g. ``"commands"``; "" = they do not say.
    """
    site.mkdir(parents=True, exist_ok=True)
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{entry} = {module}" for entry, module in entries.items()]
    (folder / "entry_points.txt").write_text(
        "\n".join(["[u2a]", *lines, *([f"[u2a.{brings}]", *lines] if brings else []), ""])
    )
    if code is not None:
        (site / f"{next(iter(entries.values()))}.py").write_text(code)


@contextmanager
def visible(site: Path) -> Iterator[None]:
    """The distributions of a folder are installed, for this process and as long as the block lasts."""
    sys.path.insert(0, str(site))
    forget()
    try:
        yield
    finally:
        sys.path.remove(str(site))
        forget()
