"""What decides an encoder's output, as hashes: weights, configuration, preprocessor and tokenizer files.

A run stores them. To load it with other ones would give other predictions without a word, so it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from u2a.errors import U2AError

#: Entries of a checkpoint's JSON files that say where it comes from or what its head was for.
_NO_MATTER = frozenset(
    [
        "_name_or_path",
        "_commit_hash",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "architectures",
        "id2label",
        "label2id",
        "problem_type",
        "finetuning_task",
        "use_cache",
        "return_dict",
        "output_attentions",
        "output_hidden_states",
        "processor_class",
        "name_or_path",
        "special_tokens_map_file",
        "tokenizer_file",
        "_attn_implementation",
        "_attn_implementation_autoset",
        "auto_map",
        "backend",
        "model_max_length",
        "is_local",
        "local_files_only",
        "gradient_checkpointing",
    ]
)
#: By what reads them: an encoder's identity covers the files that its own preprocessor reads.
IMAGE_FILES = ("preprocessor_config.json", "processor_config.json")
VIDEO_FILES = (*IMAGE_FILES, "video_preprocessor_config.json")
AUDIO_FILES = ("preprocessor_config.json", "processor_config.json")
TEXT_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model"),
)


def file_hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The hash of each of these files that is there; of a JSON file without what does not matter."""
    return {name: _hash(folder / name) for name in names if (folder / name).is_file()}


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json" and path.name != "tokenizer.json":
        try:
            value = _without(json.loads(content))
        except ValueError as error:
            raise U2AError(f"{path} cannot be read: {error}") from None
        content = json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in _NO_MATTER}
    return [_without(item) for item in value] if isinstance(value, list) else value


def difference(saved: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Which part of two identities differs: ``weights`` or a file's name; None if nothing does.

    Runs of versions that stored the weights' hash alone are compared by that alone.
    """
    if saved.get("sha256") != found.get("sha256"):
        return "weights"
    before, now = saved.get("files"), found.get("files")
    if before is None or now is None:
        return None
    return next((name for name in sorted({*before, *now}) if before.get(name) != now.get(name)), None)
