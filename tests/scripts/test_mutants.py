"""The small changes that mutation testing makes: right by hand, each one compiles and changes one place."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
import pytest  # noqa: E402
from mutation.operators import change_of, mutants_of  # noqa: E402

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


CLASS = """
LEAST = 3


class Rule:
    most: int = 5

    def rate(self, t: int = 0) -> float:
        def half(x):
            return x / 2

        if t < LEAST:
            return half(
                t
            )
        return 1.0
"""


@pytest.mark.parametrize(
    ("old", "outermost", "lines"),
    [
        ("LEAST = 3", None, range(2, 3)),
        ("most: int = 5", None, range(6, 7)),
        ("t: int = 0", None, range(8, 9)),
        ("return x / 2", "Rule.rate", range(10, 11)),
        ("t < LEAST", "Rule.rate", range(12, 13)),
        ("                t\n", "Rule.rate", range(13, 15)),
    ],
    ids=["module", "class", "default", "inner", "condition", "statement-of-three-lines"],
)
def test_a_break_changes_the_function_that_its_text_stands_in(
    old: str, outermost: str | None, lines: range
) -> None:
    found = change_of(CLASS, old, old.replace("t", "u"), "a name")
    assert (found.name, found.outermost) == ("a name", outermost)
    assert (found.lines[0], found.lines[-1]) == (lines[0], lines[-1])
    assert found.source == CLASS.replace(old, old.replace("t", "u"))


RATE_TESTS = """
from pathlib import Path

from rates import rate

def test_doubles():
    assert rate(3) == 6
"""
LEFT_BEHIND = """
def test_makes_a_folder():
    rate(0)
    (Path(__file__).parent / "shared").mkdir()
"""


@pytest.mark.parametrize("twice", [True, False], ids=["passes-twice", "fails-the-second-time"])
def test_a_test_that_fails_the_second_time_kills_nothing(twice: bool, tmp_path: Path) -> None:
    from mutation.running import FAILING, Change, run_changes  # torch, for all forks: not while collecting

    source = "def rate(n):\n    n = n * 1\n    return n * 2\n"
    module = tmp_path / "plugins/a-package/rates.py"
    module.parent.mkdir(parents=True)
    (module.parent / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    module.write_text(source)
    tests = "plugins/a-package/test_rates.py"
    (tmp_path / tests).write_text(RATE_TESTS + ("" if twice else LEFT_BEHIND))
    changes = [
        Change(module, change_of(source, old, new, f"{old} => {new}"), (tests,))
        for old, new in [("n * 1", "n / 1"), ("n * 2", "n * 3")]
    ]
    fates = run_changes(tmp_path, changes, lambda name, fate: None, again=False)
    noticed = ["survived", f"killed: {tests}::test_doubles"] if twice else [FAILING, FAILING]
    assert list(fates.values()) == noticed
