"""What is known of a transformers architecture; how it runs is found by its structure (`encoders.structure`).

Light, so that listing them needs neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Architecture:
    """One kind of pretrained encoder.

    Attributes:
        class_name: the headless class in transformers.
        init: further arguments of that class.
        call: further arguments of its forward pass.
        cls: positions averaged to the class token; ``"end"`` = each row's last valid position; None = the mean
            of all valid tokens.
        norm: the final norm, by its path in the class; ``""`` = blocks end with their own.
        norms: where a checkpoint may hold the final norm instead, if its author pools by the mean: in the
            pooler or the head. Its class token is then the mean, since nothing learned to read another.
        tuples: how many values its blocks return; 0 = hidden states alone, in no tuple.
        part: the submodule that is the encoder; ``""`` = all of the class.
        settings: entries of the configuration that are overruled: randomness of pretraining is switched off.
        pre_norm: a norm between its embeddings and its blocks, which the mask tokens go through as well.
        full: every text is padded to as many tokens as there are positions, and attends to the padding.
        unused: prefixes of weights that the encoder does not run, which a checkpoint may lack.
    """

    class_name: str
    init: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    cls: tuple[int, ...] | Literal["end"] | None = (0,)
    norm: str = ""
    norms: tuple[str, ...] = ()
    tuples: int = 0
    part: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    pre_norm: str = ""
    full: bool = False
    unused: tuple[str, ...] = ()

    @property
    def class_token(self) -> str:
        """How the class token comes about, for people."""
        if self.cls is None:
            return "mean of the tokens"
        if self.cls in ("end", (-1,)):
            return "last token"
        return "first token" if self.cls == (0,) else f"mean of tokens {', '.join(map(str, self.cls))}"
