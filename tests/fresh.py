"""A fresh virtual environment: third-party packages are linked in from this one, u2a comes as a built wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: How this environment's own u2a, its plugins and every other path file begin.
_OURS = ("u2a", "_u2a", "_editable", "__editable__")


def build_wheel(folder: Path) -> Path:
    """u2a as a wheel."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
    ]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return next(folder.glob("u2a-*.whl"))


class Environment:
    """A virtual environment with commands that run in it.

    Args:
        folder: to make.
        wheel: u2a's.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.bin = folder / "bin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        third_party = folder / "third_party"
        third_party.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if not path.name.startswith(_OURS) and path.suffix != ".pth":
                (third_party / path.name).symlink_to(path)
        (folder / "lib" / python / "site-packages" / "third_party.pth").write_text(f"{third_party}\n")
        for name in ("pip", "pytest"):
            (self.bin / name).write_text(f'#!/bin/sh\nexec "{self.bin}/python" -m {name} "$@"\n')
            (self.bin / name).chmod(0o755)
        self.run(f"pip install -q --no-deps --no-index {wheel}", folder)

    def run(self, command: str, cwd: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A shell line (or several) in the environment; with `check` a failure is an AssertionError."""
        settings = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        env |= {**settings, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done
