"""`make bench`: every row of docs/performance.md, or those that are named.

python -m benchmarks.speed [steps sweeps loading commands memory processes] [--full]
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import transformers

from benchmarks.speed import commands, loading, memory, processes, steps, sweeps
from benchmarks.speed.timing import HEAD, Row, machine


def main() -> None:
    """Print the table as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--full", action="store_true", help="with the paper's encoders: half an hour on a CPU")
    options = parser.parse_args()
    parts: dict[str, Callable[[Path], Iterator[Row]]] = {
        "steps": lambda folder: steps.rows(folder, full=options.full),
        "sweeps": sweeps.rows,
        "loading": loading.rows,
        "commands": commands.rows,
        "memory": memory.rows,
        "processes": processes.rows,
    }
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    print(*machine(), "", HEAD, sep="\n", flush=True)
    for name, part in parts.items():
        if not options.parts or name in options.parts:
            with tempfile.TemporaryDirectory() as folder:
                for row in part(Path(folder)):
                    print(row, flush=True)


if __name__ == "__main__":
    main()
