"""Where u2a speaks to people: results on standard output, everything else on standard error."""

from __future__ import annotations

from rich.console import Console

out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
console = Console(stderr=True)
