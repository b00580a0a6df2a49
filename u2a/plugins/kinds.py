"""Which installed modality takes a checkpoint that another one refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from u2a.errors import WrongEncoder
from u2a.plugins.registry import Registry


@contextmanager
def naming_kinds(plugins: Registry) -> Iterator[None]:
    """Where an encoder is refused inside, say which installed modalities take it.

    Raises:
        WrongEncoder: with ``kind = "..." takes it`` at its end.
    """
    try:
        yield
    except WrongEncoder as error:
        takes = [
            f'"{name}"'
            for name, spec in plugins.specs.items()
            if error.model_type in getattr(spec.options, "architectures", {})
        ]
        if not takes:
            raise
        raise WrongEncoder(f"{error}; kind = {' or '.join(takes)} takes it", error.model_type) from error
