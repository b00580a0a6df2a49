"""Which split each value of a column means: by name, else by a word of it (``test_seen``, ``PrivateTest``)."""

from __future__ import annotations

from collections.abc import Collection

from u2a.starting.folders import split_in, split_name

#: More different values are none of a column of splits that is not called so.
MOST = 20


def split_names(values: Collection[str]) -> dict[str, str]:
    """The split that each value means, as far as it means one.

    A word counts where no value is the split's name: beside ``test`` a ``test_extra`` is another one.
    """
    exact = {value: split for value in values if (split := split_name(value))}
    loose = {value: split for value in values if value not in exact and (split := split_in(value))}
    return exact | {value: split for value, split in loose.items() if split not in exact.values()}


def some_splits(values: Collection[str]) -> bool:
    """Whether values may be those of a column that is called ``split`` or the like."""
    return any(map(split_name, values)) or "train" in split_names(values).values()


def only_splits(values: Collection[str]) -> bool:
    """Whether values are those of a column of splits, whatever it is called: all mean one, and some train."""
    meant = split_names(values)
    said = all(split_name(value) or " " not in value.strip() for value in values)  # no "Weight Training"
    return said and 1 < len(values) <= MOST and len(meant) == len(values) and "train" in meant.values()


def told(values: Collection[str]) -> list[str]:
    """A line for each split that is known by a word alone."""
    loose: dict[str, list[str]] = {}
    for value, split in split_names(values).items():
        if not split_name(value):
            loose.setdefault(split, []).append(repr(value))
    return [
        f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} taken for split {split}"
        for split, names in loose.items()
    ]
