"""Text bytes to token ids with the checkpoint's own tokenizer; batches are padded on the right."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from u2a.contract.modality import Example, Inputs
from u2a.encoders.files import config_folder
from u2a.encoders.identity import TEXT_FILES, file_hashes
from u2a.errors import NoContent, RecipeError
from u2a.media.texts import decode_text
from u2a_text import encoders
from u2a_text.tokenizer import check_end, check_tokenizer, is_word_piece, load_tokenizer, padding_id

if TYPE_CHECKING:
    from u2a_text.options import TextOptions

DEFAULT_LENGTH = 512
#: Of English prose; where it is wrong, batches are a little less even.
BYTES_A_TOKEN = 4.5


def _says_something(character: str) -> bool:
    """False for white space, control and format characters (zero width, direction), and U+FFFD."""
    return unicodedata.category(character)[0] not in "ZC" and character != "\ufffd"


@dataclass(frozen=True)
class TextPreprocessor:
    """Member bytes to ``{"input_ids": long [L]}``; collated ``input_ids`` and ``attention_mask``, long [P, L].

    ``longest``: every text is padded to so many tokens, and the padding counts as text (SigLIP).

    Holds only the folder, so that it pickles small; each process loads the tokenizer at its first text.
    """

    folder: Path
    max_length: int
    padding: int = 0
    version: str = ""
    longest: int = 0

    @classmethod
    def from_options(cls, options: TextOptions, packaged: Path) -> TextPreprocessor:
        """With the checkpoint's tokenizer.

        Raises:
            RecipeError: ``max_length`` is more than the checkpoint has positions for.
            U2AError: the tokenizer does not fit the encoder.
        """
        most = encoders.max_tokens(options, packaged)
        if options.max_length is not None and options.max_length > most:
            raise RecipeError(
                f"max_length = {options.max_length} is more than the {most} tokens of encoder {options.encoder}"
            )
        config: Any = encoders.configuration(options, packaged)
        folder = config_folder(options)
        version = hashlib.sha256(json.dumps(file_hashes(folder, TEXT_FILES)).encode()).hexdigest()
        known = encoders.ARCHITECTURES[config.model_type]
        # The model's padding id, not the tokenizer's: RoBERTa counts its positions from it.
        new = cls(folder, options.max_length or min(DEFAULT_LENGTH, most), config.pad_token_id or 0, version)
        check_tokenizer(new._tokenizer, folder, config.vocab_size, class_token=known.cls == (0,))
        if known.cls == "end":
            check_end(new._tokenizer, folder, config.eos_token_id)
        if known.full:  # there the padding is part of the text, as the tokenizer writes it
            return replace(new, longest=most, padding=padding_id(new._tokenizer, folder, new.padding))
        return new

    @property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.folder, self.max_length, self.version)

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Tokenise one text, cut to ``max_length``; the same in training and evaluation.

        Raises:
            BadSample: see `u2a.media.texts.decode_text`; NoContent: nothing but white space and characters
                that nobody sees.
        """
        text = decode_text(member)
        if not any(map(_says_something, text)):
            raise NoContent("text is empty")
        coded = self._tokenizer.encode(text)
        if all(coded.special_tokens_mask):
            raise NoContent("text has no token of its own")
        return {"input_ids": torch.tensor(coded.ids, dtype=torch.long)}

    def lengths(self, bytes_N: NDArray[np.int64]) -> NDArray[np.float64]:
        """About how many tokens texts of so many bytes have; see `u2a.modality.Preprocessor`."""
        longest = self.longest or self.max_length
        return np.minimum(np.full(len(bytes_N), longest) if self.longest else bytes_N / BYTES_A_TOKEN, longest)

    def constants(self) -> dict[str, Any]:
        """How bytes become inputs, for programs without u2a: a tokenizer, its length, and the padding.

        ``special`` are the ids of a text of nothing. ``files`` are written beside the graphs.
        """
        tokenizer = self._tokenizer
        return {
            "reader": "wordpiece" if is_word_piece(tokenizer) else "tokenizer",
            "max_length": self.max_length,
            "padding": self.padding,
            "longest": self.longest,
            "special": tokenizer.encode("").ids,
            "files": {"tokenizer.json": tokenizer.to_str()},
        }

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Pad to the longest with the encoder's own padding id."""
        ids = [example["input_ids"] for example in examples]
        if self.longest:
            ids = [pad(row, (0, self.longest - len(row)), value=self.padding) for row in ids]
        ones = [torch.ones_like(row) for row in ids]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.padding),
            "attention_mask": pad_sequence(ones, batch_first=True),
        }
