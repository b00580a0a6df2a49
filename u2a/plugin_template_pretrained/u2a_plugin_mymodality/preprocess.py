"""Letters to numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

import u2a

#: The numbers of the class token and of the letter a.
CLS, FIRST = 1, 2


@dataclass(frozen=True)
class MyModalityPreprocessor(u2a.PaddingCollate):
    """Member bytes to ``{"input_ids": long [L]}``; collated, padded with 0 and with an ``attention_mask``."""

    longest: int

    def __call__(self, member: bytes, *, train: bool, seed: int) -> u2a.Example:
        """Read one text.

        Raises:
            BadSample: anything but lower-case letters.
        """
        text = member.decode("ascii", "replace").strip()
        if not text or set(text) - set("abcdefghijklmnopqrstuvwxyz"):
            raise u2a.BadSample("must be a text of the letters a to z")
        numbers = [ord(letter) - ord("a") + FIRST for letter in text[: self.longest]]
        return {"input_ids": torch.tensor([CLS, *numbers])}
