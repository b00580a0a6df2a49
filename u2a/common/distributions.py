"""Which distributions bring plugins, beside whatever else is installed.

`importlib.metadata` fails for everybody if one package's metadata is damaged: a folder without METADATA, an
entry-point file that is no text. Here a damaged package that has nothing to do with u2a is passed over, and one
that does is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution, EntryPoint, PathDistribution, distributions
from pathlib import Path
from typing import Any

GROUP = "u2a"
_SECTION = re.compile(rf"^\s*\[\s*{GROUP}\s*\]", re.MULTILINE)
#: Groups that somebody means by it: [u2a.plugins], [U2A].
_NEARLY = re.compile(rf"^\s*\[\s*({GROUP}(?:[._:-]\w*)?)\s*\]", re.MULTILINE | re.IGNORECASE)
_SOUND = re.compile(r"\s*(?:$|[#;]|\[.*\]\s*$|[^=]+=)")
_STEM = re.compile(r"(.+?)(?:-(\d[^-]*))?(?:-[^-]+)*\.(?:dist-info|egg-info|egg)")


@dataclass(frozen=True)
class Found:
    """A distribution that says it brings plugins.

    Attributes:
        entries: its entry points, by name; none where `fault` says why they cannot be read.
        brings: what they say they bring, by name: those in ``u2a.commands`` commands; others do not say.
        said_by: what reads its metadata.
    """

    name: str
    version: str
    entries: tuple[EntryPoint, ...] = ()
    brings: Mapping[str, frozenset[str]] = field(default_factory=dict)
    fault: str = ""
    said_by: Distribution | None = field(default=None, compare=False, repr=False)


def one_spelling(name: str) -> str:
    """A distribution's name as pip compares it: ``U2A_Plugin.Peaks`` is ``u2a-plugin-peaks``."""
    if name.endswith(".py"):  # of a plugin in a file
        return name
    return re.sub(r"[-_.]+", "-", name).lower()


def find_plugins() -> list[Found]:
    """The distributions with entry points of the group ``u2a``, u2a's own first, then by name.

    Names are spelled as pip compares them. Of two with one name, the first on the path that has sound metadata
    counts; of u2a itself, and in one folder, where an installer left the older one behind, the newer.
    """
    found: dict[str, tuple[Path | None, Found]] = {}
    for dist in _distributions():
        one = _read(dist)
        if one is None:
            continue
        one = replace(one, name=one_spelling(one.name))
        place = folder.parent if (folder := _folder(dist)) else None
        if one.name not in found or _goes_before(one, found[one.name][1], together=place == found[one.name][0]):
            found[one.name] = place, one
    return sorted((one for _, one in found.values()), key=lambda one: (one.name != "u2a", one.name))


def _goes_before(one: Found, first: Found, *, together: bool) -> bool:
    from packaging.version import InvalidVersion, Version

    sound, was_sound = (found.version != "?" and not found.fault for found in (one, first))
    if not sound or not was_sound:
        return sound
    try:
        return (together or one.name == "u2a") and Version(one.version) > Version(first.version)
    except InvalidVersion:
        return False


def installed_version(name: str) -> str | None:
    """The version of a distribution, from the first on the path whose metadata says one."""
    for dist in _distributions(name=name):
        if (said := _said(dist, "Version")[0]) is not None:
            return said
    return None


def forgive_damaged_metadata() -> None:
    """Let this process's other libraries ask for entry points although a package's are damaged.

    pydantic, torch and fsspec each look through all of them, and stop at the first that is no UTF-8 or no list.
    For the command line, whose process is u2a's own.
    """
    read = PathDistribution.read_text

    def read_text(self: PathDistribution, filename: str | os.PathLike[str]) -> str | None:
        try:
            text = read(self, filename)
        except ValueError:
            text = _bytes(self, str(filename))
        if text and str(filename) == "entry_points.txt":
            return "\n".join(line for line in text.splitlines() if _SOUND.match(line))
        return text

    PathDistribution.read_text = read_text  # type: ignore[method-assign]


def _distributions(name: str | None = None) -> Iterator[Distribution]:
    try:
        yield from distributions(name=name) if name else distributions()
    except Exception:  # a finder that another package put on sys.meta_path
        return


def _read(dist: Distribution) -> Found | None:
    """What a distribution says of itself; None if it brings no plugins."""
    try:
        text, fault = dist.read_text("entry_points.txt") or "", ""
    except (OSError, ValueError) as error:
        text, fault = _bytes(dist, "entry_points.txt"), f"cannot be read: {error}"
    if not (group := _NEARLY.search(text)):
        return None
    name, version = _said(dist, "Name", "Version")
    stem = _STEM.fullmatch(folder.name) if (folder := _folder(dist)) else None
    name = name or (stem[1].replace("_", "-") if stem else "unknown")
    version = version or (stem and stem[2]) or "?"
    if fault:
        return Found(name, version, fault=f"{_folder(dist)}/entry_points.txt {' '.join(fault.split())}")
    if not _SECTION.search(text):
        fault = f"{_folder(dist)}/entry_points.txt has the group [{group[1]}]; plugins are under [{GROUP}]: "
        return Found(name, version, fault=f"{fault}[project.entry-points.{GROUP}] in pyproject.toml")
    try:
        listed = dist.entry_points
        entries = sorted(listed.select(group=GROUP), key=lambda entry: entry.name)
    except Exception as error:
        fault = f"{_folder(dist)}/entry_points.txt is no list of NAME = MODULE: {error}"
        return Found(name, version, fault=" ".join(fault.split()))
    if not entries:
        return Found(
            name, version, fault=f"{_folder(dist)}/entry_points.txt names no NAME = MODULE under [{GROUP}]"
        )
    return Found(name, version, tuple(dict.fromkeys(entries)), _brings(listed), said_by=dist)


def _brings(listed: Iterable[EntryPoint]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for entry in listed:
        if entry.group.startswith(f"{GROUP}."):
            found.setdefault(entry.name, set()).add(entry.group.removeprefix(f"{GROUP}."))
    return {name: frozenset(kinds) for name, kinds in found.items()}


def _said(dist: Distribution, *fields: str) -> list[str | None]:
    try:
        metadata: Any = dist.metadata
        said = [metadata.get(field) for field in fields]  # None: the file, or a line, is missing (by version)
    except Exception:
        return [None for _ in fields]
    return [str(one).strip() or None if one is not None else None for one in said]


def requirements(found: Found) -> tuple[str, ...]:
    """What a distribution requires, as written; nothing where its metadata cannot be read."""
    try:
        return tuple(found.said_by.requires or ()) if found.said_by else ()
    except Exception:
        return ()


def _folder(dist: Distribution) -> Path | None:
    path = getattr(dist, "_path", None)  # for messages, and for what read_text refuses
    return Path(str(path)) if path is not None else None


def _bytes(dist: Distribution, name: str) -> str:
    try:
        return (Path(str(_folder(dist))) / name).read_bytes().decode("latin-1")
    except OSError:
        return ""
