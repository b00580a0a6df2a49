"""transformers without its log lines and progress bars."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from u2a.common.libraries import torchaudio

torchaudio()  # before anything that reads checkpoints imports transformers
_LIBRARY = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No transformers log lines or progress bars inside; the caller's settings come back afterwards.

    One thread at a time: the settings, and what transformers does while it reads weights, are the process's.
    """
    from transformers.utils import logging

    with _LIBRARY:
        level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bar:
                logging.enable_progress_bar()
