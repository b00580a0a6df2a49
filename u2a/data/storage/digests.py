"""Digests as files of people's data hold them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in a file that anybody may have written: it becomes a file name, so it must be nothing else."""
