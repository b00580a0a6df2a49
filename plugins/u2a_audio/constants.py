"""What a checkpoint's own feature extractor does, checked against what its network has places for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.encoders.files import config_folder, read_json
from u2a.errors import U2AError
from u2a_audio import encoders

if TYPE_CHECKING:
    from u2a_audio.options import AudioOptions


def read_constants(options: AudioOptions, packaged: Path) -> dict[str, Any]:
    """The fields of an `AudioPreprocessor`.

    The length is the recipe's, else that of the network's position table. Where the feature extractor's file
    names another one, ``notes`` says so.

    Raises:
        U2AError: the file is absent, or a value in it means nothing or does not fit config.json; names both.
    """
    folder = config_folder(options, packaged)
    path, raw = feature_extractor_file(folder)
    config = encoders.configuration(options, packaged)
    if raw.get("do_normalize") not in (None, True, False):
        raise U2AError(f"{path}: do_normalize must be true or false")
    normalise = raw.get("do_normalize") is not False
    bins = int(number(raw, "num_mel_bins", path))
    if bins != config.num_mel_bins:
        raise U2AError(
            f"{path}: num_mel_bins is {bins}, but config.json's is {config.num_mel_bins}: "
            "the files are of different checkpoints"
        )
    stated = int(number(raw, "max_length", path))
    return {
        "sampling_rate": int(number(raw, "sampling_rate", path)),
        "mel_bins": bins,
        "max_length": options.max_length or config.max_length,
        "mean": number(raw, "mean", path, positive=False) if normalise else 0.0,
        "std": number(raw, "std", path) if normalise else 0.5,
        "notes": _notes(path, stated, config.max_length) if options.max_length is None else (),
    }


def feature_extractor_file(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file that holds the feature extractor's values, and the values, as transformers chooses them.

    Raises:
        U2AError: there is none.
    """
    if (folder / "processor_config.json").is_file():
        nested = read_json(folder, "processor_config.json").get("feature_extractor")
        if isinstance(nested, dict):
            return folder / "processor_config.json", nested
    return folder / "preprocessor_config.json", read_json(folder, "preprocessor_config.json")


def _notes(path: Path, stated: int, positions: int) -> tuple[str, ...]:
    if stated == positions:
        return ()
    return (
        f"{path}: max_length is {stated} frames, but config.json has positions for {positions}: "
        f"sounds are cut or padded to {positions}; set max_length in the recipe for another length",
    )


def number(raw: dict[str, Any], name: str, path: Path, *, positive: bool = True) -> float:
    """A number of a JSON file.

    Raises:
        U2AError: it is none, or not above 0 where it must be.
    """
    value = raw.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        raise U2AError(f"{path}: {name} must be a number (got {value!r})")
    if positive and not 0 < value < float("inf"):
        raise U2AError(f"{path}: {name} must be above 0 (got {value!r})")
    return value
