"""Change u2a in every small way that `mutation.operators` knows, and list what no test notices.

usage: python scripts/mutants.py [WORD...]    only modules with any of these words, all: `make mutants`

`mutants.toml` maps modules to the tests that guard them, and gives the survivors' reasons; a survivor that is
not there, or a reason that nothing needs any more, fails.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from mutation.operators import mutants_of
from mutation.running import Change, run_changes
from mutation.tree import ROOT, copy_tree  # imports torch and pytest once, for all forks


def report(module: str, fates: dict[str, str], reasons: dict[str, str]) -> list[str]:
    """The survivors without a reason, and the reasons of mutants that are no survivors."""
    survivors = [name for name, fate in fates.items() if not fate.startswith("killed")]
    new = [f"SURVIVED ({fates[name]}) {name}" for name in survivors if name not in reasons]
    old = [f"REASON NOT NEEDED {name}" for name in reasons if fates.get(name, "").startswith("killed")]
    print(
        f"{module}: {len(fates)} mutants, {len(survivors)} survived, {len(new)} of them without a reason",
        flush=True,
    )
    return new + old


def main(words: list[str]) -> int:
    """Run the chosen modules one by one; 1 if anything must be looked at."""
    document = tomllib.loads((ROOT / "scripts/mutants.toml").read_text())
    reasons = {name: group["why"] for group in document.get("equivalent", []) for name in group["mutants"]}
    chosen = {
        m: tests for m, tests in document["tests"].items() if not words or any(word in m for word in words)
    }
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve()
        copy_tree(tree)
        for module, tests in chosen.items():
            start, path = time.monotonic(), tree / "u2a" / f"{module.replace('.', '/')}.py"
            changes = [Change(path, mutant, tuple(tests)) for mutant in mutants_of(path.read_text())]
            fates = run_changes(tree, changes, lambda name, fate: None, again=False)
            for line in report(module, fates, reasons):
                bad += 1
                print(f"  {line}", flush=True)
            print(f"  {time.monotonic() - start:.0f} s", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
