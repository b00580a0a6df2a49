"""Errors made for people: one line that says what was wrong, where, and what to do.

Everything a user or their data can get wrong is a `U2AError`; the command line prints its text
without a traceback and exits with 2. Any other exception is a bug of ours and keeps its traceback.
"""


class U2AError(Exception):
    """A mistake in a command, a recipe, the data or a plugin, told in one line."""


class RecipeError(U2AError):
    """A recipe that cannot be used; holds every fault found, one a line, each with file and key."""


class ShardError(U2AError):
    """A shard or index that cannot be trusted; names the file and the member or sample."""


class BadSample(U2AError):
    """Raised by a preprocessor for bytes it cannot use; the reader adds file, key and modality."""


class NoContent(BadSample):
    """The bytes are sound, but hold nothing of this modality: no audio stream, zero length, no words."""


class PluginError(U2AError):
    """A plugin broke the contract; names modality, distribution and what the contract wants."""


class CheckpointError(U2AError):
    """A run folder or checkpoint that is incomplete, damaged, or made for other base weights."""


class LostTouch(U2AError):
    """A process of several is gone, so that the others cannot go on; started again, they can."""


class WrongEncoder(U2AError):
    """A checkpoint of an architecture that a modality does not take; perhaps another one does."""

    def __init__(self, message: str, model_type: str = "") -> None:
        super().__init__(message)
        self.model_type = model_type


def one_line(error: object, most: int | None = None) -> str:
    """What an exception says, in one printable line of at most `most` characters; else its type's name."""
    try:
        text = str(error)
    except Exception:  # a stranger's code runs here too
        text = ""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:most] or type(error).__name__
