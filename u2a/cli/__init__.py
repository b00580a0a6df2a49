"""Click commands: parse and delegate. No work is done here; nothing heavy is imported before a command runs."""

from u2a.cli.main import main

__all__ = ["main"]
