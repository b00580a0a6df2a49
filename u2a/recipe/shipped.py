"""The recipes that come with u2a: in the wheel, or beside the package in a clone."""

from __future__ import annotations

from pathlib import Path

from u2a.errors import U2AError

PACKAGE = Path(__file__).parents[1]


def shipped_recipes() -> dict[str, Path]:
    """Names of the shipped recipes and where they lie."""
    wheel = PACKAGE / "shipped_recipes"
    folder = wheel if wheel.is_dir() else PACKAGE.parent / "recipes"
    return {path.stem: path for path in folder.glob("*.toml")}


def copy_recipe(name: str, out: str) -> Path:
    """Copy a shipped recipe into a folder; never over a file that is there.

    Raises:
        U2AError: no such recipe, or the file exists.
    """
    known = shipped_recipes()
    if name not in known:
        raise U2AError(f"no shipped recipe {name!r}; there are: {', '.join(sorted(known))}")
    target = Path(out) / f"{name}.toml"
    if target.exists():
        raise U2AError(f"{target} exists already; move it away first")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(known[name].read_bytes())
    return target
