"""Prove that the wheels in a folder install a plugin by its name: in a fresh environment, as a user would.

    python scripts/dist.py dist [--seen FOLDER]

``--seen`` lets the environment see a folder of packages that are installed already, where there is no registry.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Install every plugin's distribution by name, and ask u2a for its modality."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dist", type=Path)
    parser.add_argument("--seen", type=Path)
    given = parser.parse_args()
    names = sorted(wheel.name.split("-")[0].replace("_", "-") for wheel in given.dist.glob("u2a_plugin_*.whl"))
    if not names:
        sys.exit(f"{given.dist}: holds no wheels of plugins; build them first: make dist")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        python, extra = Path(folder) / "bin/python", []
        if given.seen:
            site = next(Path(folder).glob("lib/python*/site-packages"))
            (site / "seen.pth").write_text(f"{given.seen.resolve()}\n")
            extra = ["--no-index"]
        pip = [sys.executable, "-m", "pip", "--python", str(python)]
        install = [*pip, "install", "--quiet", *extra, "--find-links", str(given.dist)]
        for name in names:
            subprocess.run([*install, name], check=True)
        found = subprocess.run(
            [str(python), "-m", "u2a", "plugins", "list", "--json"], check=True, capture_output=True, cwd=folder
        )
    owners = {row["distribution"] for row in json.loads(found.stdout)}
    if missing := [name for name in names if name not in owners]:
        sys.exit(f"installed, and not there: {', '.join(missing)}")
    print(f"installed by name: {', '.join(names)}")


if __name__ == "__main__":
    main()
