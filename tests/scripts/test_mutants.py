"""The small changes that mutation testing makes: right by hand, each one compiles and changes one place."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from mutation.operators import mutants_of  # noqa: E402

RATE = """
def rate(t, n):
    if t < n:
        return 0.1 * n
    return max(t, n)
"""


def test_the_changes_of_a_small_function() -> None:
    assert {(mutant.name, mutant.lines.start) for mutant in mutants_of(RATE)} == {
        ("rate: t < n => t <= n", 3),
        ("rate: return 0.1 * n => return 0.1 / n", 4),
        ("rate: return 0.1 * n => return 0.2 * n", 4),
        ("rate: return max(t, n) => return min(t, n)", 5),
    }


def test_every_change_compiles_and_moves_no_line() -> None:
    text = (ROOT / "u2a/training/schedule.py").read_text(encoding="utf-8")
    found = mutants_of(text)
    assert len({mutant.name for mutant in found}) == len(found) > 20
    for mutant in found:
        compile(mutant.source, mutant.name, "exec")
        changed = [a != b for a, b in zip(text.splitlines(), mutant.source.splitlines(), strict=True)]
        assert 0 < sum(changed) <= len(mutant.lines)
