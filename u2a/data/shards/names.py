"""What names say: which files of a tar made elsewhere belong to samples, and which split is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from u2a.common.values import missing_word, short

#: What archivers, file managers and people put beside samples; compared with the lower-case base name.
BESIDE = (
    *("thumbs.db", "desktop.ini", "*:zone.identifier", "*~"),
    *("readme*", "license*", "licence*", "copying*", "notice*", "changelog*"),
    *("md5sum*", "sha1sum*", "sha256sum*", "sha512sum*", "checksum*"),
)
#: What macOS' archiver, network disks and Windows call folders of their own.
BESIDE_FOLDERS = {"__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information"}
#: Files that describe a data set; a name that has only these is no sample.
DOCUMENTS = frozenset(
    "md rst html htm pdf csv tsv xlsx parquet xml yaml yml toml log bib md5 sha1 sha256 sha512 idx db ini "  # noqa: SIM905
    "py sh ipynb".split()
)
#: Names of splits that mean something, and what else people call them.
SPLITS = {
    "train": ("training", "trn"),
    "val": ("valid", "validation", "validate", "dev", "develop", "development"),
    "test": ("testing", "tst"),
}
#: The split that each of these names means.
SPLIT_OF = {other: name for name, others in SPLITS.items() for other in (name, *others)}
_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_WILD = re.compile(r"[*?\[/]")


def ignore_pattern(given: str) -> str:
    """``.URL`` and ``url`` are an extension; with a wildcard or a slash it is a pattern of names."""
    return given.lower() if _WILD.search(given) else given.lower().lstrip(".")


@dataclass
class MemberNames:
    """How member names are read.

    Attributes:
        ignored: extensions, names and patterns of names that are left out as declared.
        last_dot: the extension begins at the last dot of a name instead of the first.
        left_out: files that belong to no sample, by name.
    """

    ignored: Sequence[str] = ()
    last_dot: bool = False
    left_out: list[str] = field(default_factory=list)

    def leaves_out(self, name: str) -> bool:
        """Whether a file is none of a sample's; those that nobody declared are remembered."""
        full = name.lower()
        base = full.rpartition("/")[2]
        if any(_fits(pattern, full, base) for pattern in self.ignored):
            return True
        beside = (
            "." not in base[1:]  # has no extension
            or base.startswith(".")  # AppleDouble, .DS_Store: WebDataset drops hidden files, too
            or not BESIDE_FOLDERS.isdisjoint(full.split("/"))
            or any(fnmatchcase(base, pattern) for pattern in BESIDE)
        )
        if beside:
            self.left_out.append(name)
        return beside


def _fits(pattern: str, full: str, base: str) -> bool:
    if _WILD.search(pattern):
        return fnmatchcase(full, pattern) or fnmatchcase(base, pattern)
    return base == pattern or base == f".{pattern}"


def check_split(name: str) -> None:
    """Refuse what cannot be the name of a split: it becomes a part of file names.

    Raises:
        ValueError: says why.
    """
    if not _SPLIT.fullmatch(name):
        raise ValueError(f"{short(name)} may hold letters, digits, - and _ only")
    if missing_word(name):
        raise ValueError(f"{short(name)} is a word for nothing; which split is it?")


def odd_split(name: str) -> tuple[str, str] | None:
    """Which split a name comes near, and that only that one does something; None where it is none of these."""
    wanted = SPLIT_OF.get(name.casefold(), name)
    if wanted == name:
        return None
    use = {"train": "is trained on", "val": "picks the checkpoint", "test": "is scored unless named"}
    return wanted, f"split {name!r}: only {wanted!r} {use[wanted]}"


def odd_splits(names: Iterable[str]) -> Iterator[str]:
    """Splits whose names come near those that mean something, and how packed ones are renamed."""
    names = list(names)
    for name in names:
        if (odd := odd_split(name)) is not None:
            wanted, said = odd
            both = ", and there is one: to join them" if wanted in names else "; to rename it"
            yield f"{said}{both}: u2a data pack --rename-split {name}={wanted}"
