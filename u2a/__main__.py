"""``u2a``, and ``python -m u2a``, which is also what ``torchrun -m u2a train RECIPE`` starts."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import NoReturn

from u2a.common.distributions import forgive_damaged_metadata

forgive_damaged_metadata()  # before pydantic or torch is imported, in data workers as well

#: How long the process may take to end once its command is done.
LEAVE_SECONDS = 15.0
#: Turns of busy waiting before a thread sleeps: with fewer a quiet machine is slower, with more a busy one.
SPINS = "10000"


def run() -> NoReturn:
    """The command line as a process of its own: prints to whatever there is, and ends when it is done."""
    from u2a.cli import main
    from u2a.common.streams import prepare_streams

    prepare_streams()
    os.environ.pop("MPLBACKEND", None)  # figures go to files; matplotlib stops at a name it does not know
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else torch speaks of its own reducer in every run
    if "OMP_WAIT_POLICY" not in os.environ:
        # GNU's OpenMP lets threads wait busily for each other, which is in vain where others have the cores
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if not os.environ.get("COLUMNS", "").strip("0"):  # rich prints nothing at all into no columns
        os.environ.pop("COLUMNS", None)
    code: object = 0
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code
    _leave_soon(code if isinstance(code, int) else int(code is not None))
    sys.exit(code)  # type: ignore[arg-type]


def _leave_soon(code: int) -> None:
    """End the process although a plugin left a thread or an exit function that never ends."""

    def leave() -> None:
        time.sleep(LEAVE_SECONDS)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)

    threading.Thread(target=leave, daemon=True).start()


if __name__ == "__main__":
    run()
