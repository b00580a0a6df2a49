"""Where u2a speaks to people: results on standard output, everything else on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
console = Console(stderr=True)


def progress_bar(*columns: str) -> Progress:
    """A bar on standard error: what is done, how much of it, how long it takes yet, and text columns."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*bar, *map(TextColumn, columns), console=console)
