"""Libraries outside the ranges that u2a declares: pip warns once, and long after something fails."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version

from u2a.errors import one_line


def unfit() -> list[str]:
    """What is installed outside the ranges that u2a declares, as pip would be asked for what fits."""
    from packaging.requirements import Requirement

    found = []
    for wanted in map(Requirement, requires("u2a") or ()):
        if wanted.marker is not None:  # of an extra
            continue
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            there = "not there"
        if there == "not there" or not wanted.specifier.contains(there, prereleases=True):
            found.append(f"{wanted.name} is {there}: pip install '{wanted}'")
    return found


def lines(error: Exception) -> list[str]:
    """What to say instead of an error's traceback; nothing where all libraries fit."""
    try:
        found = unfit()
    except (ImportError, ValueError):
        return []
    what = f"{type(error).__name__}: {one_line(error, 200)}; --debug shows where"
    return [f"u2a does not run with what is installed: {one}" for one in found] + [what] if found else []
