"""UTF-8 bytes to token ids with the checkpoint's own tokenizer; batches are padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from u2a.contract.modality import Example, Inputs
from u2a.encoders.files import config_folder
from u2a.encoders.loading import quiet
from u2a.errors import BadSample, NoContent, RecipeError, U2AError
from u2a_text import encoders

if TYPE_CHECKING:
    from u2a_text.options import TextOptions

DEFAULT_LENGTH = 512
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model")


@cache
def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a checkpoint folder, loaded once a process.

    Raises:
        U2AError: the folder holds none, or one that cannot be read.
    """
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise U2AError(f"{folder} has no tokenizer files ({', '.join(TOKENIZER_FILES[:2])}): copy them there")
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # of many kinds, from two libraries
        raise U2AError(
            f"the tokenizer in {folder} cannot be read: {' '.join(str(error).split())[:200]}"
        ) from None


@dataclass(frozen=True)
class TextPreprocessor:
    """Member bytes to ``{"input_ids": long [L]}``; collated ``input_ids`` and ``attention_mask``, long [P, L].

    Holds only the folder, so that it pickles small; each process loads the tokenizer at its first text.
    """

    folder: Path
    max_length: int

    @classmethod
    def from_options(cls, options: TextOptions, packaged: Path) -> TextPreprocessor:
        """With the checkpoint's tokenizer.

        Raises:
            RecipeError: ``max_length`` is more than the checkpoint has positions for.
        """
        most = encoders.max_tokens(options, packaged)
        if options.max_length is not None and options.max_length > most:
            raise RecipeError(
                f"max_length = {options.max_length} is more than the {most} tokens of encoder {options.encoder}"
            )
        return cls(config_folder(options), options.max_length or min(DEFAULT_LENGTH, most))

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Tokenise one text, cut to ``max_length``; the same in training and evaluation.

        Raises:
            BadSample: not UTF-8, or nothing but white space.
        """
        try:
            text = member.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadSample(f"text is not UTF-8 (byte {error.start})") from None
        if not text.strip():
            raise NoContent("text is empty")
        tokenizer = load_tokenizer(self.folder)
        ids = tokenizer(text, truncation=True, max_length=self.max_length)["input_ids"]
        return {"input_ids": torch.tensor(ids, dtype=torch.long)}

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Pad to the longest with the tokenizer's own padding id."""
        ids = [example["input_ids"] for example in examples]
        ones = [torch.ones_like(row) for row in ids]
        pad = load_tokenizer(self.folder).pad_token_id or 0
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad),
            "attention_mask": pad_sequence(ones, batch_first=True),
        }
