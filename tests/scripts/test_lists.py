"""The lists of breaks and mutants fit the code as it is: what moves takes its entries along."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BREAKS: dict[str, Any] = tomllib.loads((ROOT / "scripts/breaks.toml").read_text())
MUTANTS: dict[str, Any] = tomllib.loads((ROOT / "scripts/mutants.toml").read_text())


@cache
def files_of(where: str) -> tuple[str, ...]:
    place = ROOT / where
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return tuple(path.read_text(encoding="utf-8") for path in files if path.is_file())


def parses(text: str) -> bool:
    """What does not parse fails every test, and shows nothing."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def test_every_break_is_found_once_changes_something_and_names_tests() -> None:
    stale = []
    for one in BREAKS["break"]:
        files = [text for text in files_of(one["where"]) for _ in range(text.count(one["old"]))]
        changed = "".join(files[:1]).replace(one["old"], one["new"])
        if len(files) != 1 or one["old"] == one["new"]:
            stale.append(f"{one['what']}: the old text is {len(files)} times under {one['where']}")
        elif not one["where"].endswith(".html") and not parses(changed):
            stale.append(f"{one['what']}: the new text does not parse")
        if one["by"] not in BREAKS["tests"]:
            stale.append(f"{one['what']}: no group of tests is called {one['by']}")
    twice = [what for what, n in Counter(one["what"] for one in BREAKS["break"]).items() if n > 1]
    assert not stale + twice, "\n".join([*stale, *twice])


@pytest.mark.parametrize("listed", [BREAKS["tests"], MUTANTS["tests"]], ids=["breaks", "mutants"])
def test_the_tests_that_must_notice_exist(listed: dict[str, list[str]]) -> None:
    gone = []
    for name, tests in listed.items():
        for test in tests:
            file, _, function = test.partition("::")
            place, function = ROOT / file, function.partition("[")[0]
            if not place.exists() or (function and f"def {function}(" not in place.read_text(encoding="utf-8")):
                gone.append(f"{name}: {test}")
    assert not gone, "\n".join(gone)


def test_every_mapped_module_exists_and_every_reason_is_of_one_of_them() -> None:
    modules = {name: ROOT / "u2a" / f"{name.replace('.', '/')}.py" for name in MUTANTS["tests"]}
    assert [name for name, path in modules.items() if not path.is_file()] == []
    code = "\n".join(path.read_text(encoding="utf-8") for path in modules.values())
    reasons = [mutant for group in MUTANTS.get("equivalent", []) for mutant in group["mutants"]]
    assert [reason for reason in reasons if not _stands_in(_innermost(reason), code)] == []
    assert len(set(reasons)) == len(reasons)


def _innermost(reason: str) -> str:
    """The innermost function or class that a mutant's name begins with."""
    parts = [part for part in reason.partition(":")[0].split(".") if not part.startswith("<")]
    return parts[-1]


def _stands_in(name: str, code: str) -> bool:
    return name == "module" or any(f"{kind} {name}{end}" in code for kind in ("def", "class") for end in "(:")
