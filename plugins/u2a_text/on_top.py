"""What transformers puts on top of ``tokenizer.json``, or has in place of one, whatever the checkpoint."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from u2a.encoders.files import read_json

#: The tokens that a model's texts are built with, by their keys in tokenizer_config.json ...
_STRUCTURE = ("bos_token", "eos_token", "cls_token", "sep_token", "pad_token", "unk_token", "mask_token")
#: ... and by the names that they have where no file names them.
_USUAL = re.compile(
    r"\[(PAD|UNK|CLS|SEP|MASK|BOS|EOS)\]|</?s>|<(pad|unk|cls|sep|mask|bos|eos)>|<\|(start|end)oftext\|>"
)
_PUNCTUATION = Regex("[" + "".join("\\" + one for one in string.punctuation) + "]")


def ordinary_tokens(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """Added tokens that no text is built with (entity markers, say) are read where a text has them.

    ``[SEP]`` that somebody typed stays text: it is markup.
    """
    added = tokenizer.get_added_tokens_decoder().values()
    special = {one.content for one in added if one.special and not _USUAL.fullmatch(one.content)}
    if not special - set(_named(folder)):
        return tokenizer
    made = json.loads(tokenizer.to_str())
    structure = {*_named(folder), *_placed(made.get("post_processor")), made["model"].get("unk_token")}
    for one in made["added_tokens"]:
        one["special"] = one["special"] and (one["content"] not in special or one["content"] in structure)
    return Tokenizer.from_str(json.dumps(made))


def _named(folder: Path) -> Iterator[str]:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        settings = read_json(folder, name) if (folder / name).is_file() else {}
        for token in map(settings.get, _STRUCTURE):
            text = token.get("content") if isinstance(token, dict) else token
            if isinstance(text, str):
                yield text


def _placed(processor: Any) -> Iterator[str]:
    """The tokens that a post-processor puts around a text."""
    if isinstance(processor, dict):
        yield from processor.get("special_tokens") or ()
        yield from (pair[0] for pair in (processor.get("cls"), processor.get("sep")) if pair)
        for one in processor.get("processors") or ():
            yield from _placed(one)


def lowered(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """As transformers' classes read texts for SigLIP: in lower case, the first one's without punctuation."""
    config = folder / "config.json"
    kind = str(read_json(folder, config.name).get("model_type")) if config.is_file() else ""
    settings = folder / "tokenizer_config.json"
    stays = settings.is_file() and read_json(folder, settings.name).get("do_lower_case") is False
    if not kind.startswith("siglip") or stays or not keeps_capitals(tokenizer):
        return tokenizer
    before: list[Any] = [normalizers.Lowercase()]
    if not kind.startswith("siglip2"):
        before += [normalizers.Replace(_PUNCTUATION, ""), normalizers.Replace(Regex(r"\s+"), " ")]
        before.append(normalizers.Strip())
    own = tokenizer.normalizer
    tokenizer.normalizer = normalizers.Sequence([*before, *([] if own is None else [own])])
    return tokenizer


def keeps_capitals(tokenizer: Tokenizer) -> bool:
    """Whether ``A`` reaches the vocabulary as it is."""
    return tokenizer.normalizer is None or "A" in tokenizer.normalizer.normalize_str("A")


def of_residues(known: Any) -> Tokenizer:
    """ESM's tokenizer, which transformers has in Python alone: letters of its list, wherever they stand."""
    vocabulary, structure = known.get_vocab(), set(known.all_special_tokens)
    words = sorted((word for word in vocabulary if word not in structure), key=len, reverse=True)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=known.unk_token))
    apart = Regex("|".join(map(re.escape, words)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(apart, "isolated")]
    )
    first, last = known.cls_token, known.eos_token
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(one, vocabulary[one]) for one in (first, last)]
    )
    tokenizer.add_special_tokens(sorted(structure))
    return tokenizer
