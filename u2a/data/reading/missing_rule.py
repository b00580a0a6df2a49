"""A recipe's ``data.missing``, laid over a split."""

from __future__ import annotations

import hashlib

from u2a.data.reading.missing import Table, draw_table, one_name, overlay
from u2a.data.reading.missing_files import read_table
from u2a.data.reading.split import Split
from u2a.data.shards.dataset import fingerprint, local_path
from u2a.errors import U2AError
from u2a.recipe.data import MissingRule
from u2a.recipe.sections import Recipe


def apply_missing(split: Split, recipe: Recipe) -> Split:
    """The split as the recipe's ``data.missing`` leaves it: presence is overlaid, the data is as it was.

    Raises:
        U2AError: the table is missing, damaged, was made for other data, or is not what the recipe says.
    """
    rule = recipe.data.missing.rule(split.name) if recipe.data.missing else None
    if rule is None:
        return split
    table = _read_rule(split, rule) if rule.table else _draw_rule(split, rule, recipe.seed)
    present_NM = overlay(split.present_NM, table.kept_NM)
    changed = fingerprint([split.fingerprint, hashlib.sha256(present_NM.tobytes()).hexdigest()])
    return split.with_presence(present_NM, changed, tuple(table.info.lines(split.name)))


def _draw_rule(split: Split, rule: MissingRule, seed: int) -> Table:
    assert rule.rate is not None
    drawn_from = seed if rule.seed is None else rule.seed
    return draw_table(split, rate=rule.rate, missing=rule.missing or "each", seed=drawn_from)


def _read_rule(split: Split, rule: MissingRule) -> Table:
    path = local_path(str(rule.table))
    table = read_table(path, split)
    for name in ("rate", "missing", "seed"):
        wanted, stored = getattr(rule, name), getattr(table.info, name)
        if name == "missing" and wanted is not None:
            wanted, stored = (one_name(value, split.modalities) for value in (wanted, stored))
        if wanted is not None and wanted != stored:
            raise U2AError(
                f"data.missing.{name}: the recipe says {wanted}, but {path} was drawn with {stored}; "
                "draw it again with: u2a data mask"
            )
    return table
