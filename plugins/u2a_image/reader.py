"""The values of a checkpoint's own image (or video) processor: which file holds them, and each one checked."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from u2a.encoders.files import PretrainedOptions, config_folder, read_json
from u2a.encoders.quiet import quiet
from u2a.errors import U2AError, one_line

#: model_type -> the image processor whose defaults fill what a file leaves out, where it names none.
DEFAULTS = {
    "clip": "CLIPImageProcessor",
    "clip_vision_model": "CLIPImageProcessor",
    "metaclip_2": "CLIPImageProcessor",
    "metaclip_2_vision_model": "CLIPImageProcessor",
    "vit": "ViTImageProcessor",
    "vit_mae": "ViTImageProcessor",
    "vit_msn": "ViTImageProcessor",
    "ijepa": "ViTImageProcessor",
    "deit": "DeiTImageProcessor",
    "beit": "BeitImageProcessor",
    "data2vec-vision": "BeitImageProcessor",
    "dinov2": "BitImageProcessor",
    "dinov2_with_registers": "BitImageProcessor",
    "dinov3_vit": "DINOv3ViTImageProcessor",
    "siglip2": "Siglip2ImageProcessor",
    "siglip2_vision_model": "Siglip2ImageProcessor",
    "videomae": "VideoMAEImageProcessor",
    "vivit": "VivitImageProcessor",
    "vjepa2": "VJEPA2VideoProcessor",
    "siglip": "SiglipImageProcessor",
    "siglip_vision_model": "SiglipImageProcessor",
}
_OBEYED = {"do_resize", "do_center_crop", "do_rescale", "do_normalize"}
#: Pictures are RGB already, there are no label maps, and u2a chooses a film's frames.
_NO_MATTER = {"do_convert_rgb", "do_reduce_labels", "do_sample_frames"}
_VIDEOS = ("videomae", "vivit", "vjepa2")
_FILTERS = range(6)  # Pillow's numbers
_PROCESSOR = r"[A-Za-z0-9]+(Image|Video)Processor"


def image_processor_file(folder: Path, *, video: bool = False) -> tuple[Path, dict[str, Any]]:
    """The file that holds the values of the processor of pictures or films, and the values.

    Raises:
        U2AError: there is none.
    """
    if video and (folder / "video_preprocessor_config.json").is_file():
        return folder / "video_preprocessor_config.json", read_json(folder, "video_preprocessor_config.json")
    if (folder / "processor_config.json").is_file():
        nested = read_json(folder, "processor_config.json").get("image_processor")
        if isinstance(nested, dict):
            return folder / "processor_config.json", nested
    return folder / "preprocessor_config.json", read_json(folder, "preprocessor_config.json")


def own_processor(path: Path, raw: dict[str, Any], model_type: str) -> Any:
    """transformers' processor with these values: only asked for what the file leaves out."""
    import transformers
    from transformers.image_processing_utils import BaseImageProcessor
    from transformers.video_processing_utils import BaseVideoProcessor

    keys = ("video_processor_type", "image_processor_type", "feature_extractor_type")
    named = next((raw[key] for key in keys if raw.get(key)), None)
    name = str(named or DEFAULTS.get(model_type, "ViTImageProcessor")).replace(
        "FeatureExtractor", "ImageProcessor"
    )
    name = re.sub(r"(Fast|Pil)$", "", name)
    found = getattr(transformers, name, None) if re.fullmatch(_PROCESSOR, name) else None
    if not isinstance(found, type) or not issubclass(found, BaseImageProcessor | BaseVideoProcessor):
        raise U2AError(f"{path}: image_processor_type: {named!r} is no image processor of transformers")
    try:
        with quiet():
            return found.from_dict(dict(raw))  # type: ignore[attr-defined]
    except Exception as error:  # of many kinds
        raise U2AError(f"{path}: cannot be used: {one_line(error, 200)}") from None


class Reader:
    """Values by key, each refused by file and key if it means nothing."""

    def __init__(self, options: PretrainedOptions, packaged: Path) -> None:
        folder = config_folder(options, packaged)
        self.config = read_json(folder, "config.json")
        kind = str(self.config.get("model_type"))
        self.path, self.raw = image_processor_file(folder, video=kind in _VIDEOS)
        self.processor = own_processor(self.path, self.raw, kind)

    def refuse(self, key: str, why: str) -> None:
        raise U2AError(f"{self.path}: {key}: {why}")

    def refuse_unknown_switches(self) -> None:
        for key in (key for key in self.raw if key.startswith("do_")):
            if key not in _OBEYED | _NO_MATTER and self.raw[key]:
                self.refuse(key, "is not known to u2a; save the file with it switched off, if it may be off")

    def switch(self, key: str) -> bool:
        value = self.raw.get(key, getattr(self.processor, key, None))
        if value not in (None, True, False):
            self.refuse(key, f"must be true or false (got {value!r})")
        return bool(value)

    def value(self, key: str) -> Any:
        value = self.raw.get(key)
        return getattr(self.processor, key, None) if value is None else value

    def filter(self) -> int:
        value = self.value("resample")
        if isinstance(value, bool) or not isinstance(value, int) or value not in _FILTERS:
            self.refuse("resample", f"must be one of Pillow's filters, 0 to 5 (got {value!r})")
        return int(value)

    def factor(self) -> float:
        value = self.value("rescale_factor")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            self.refuse("rescale_factor", f"must be a positive number (got {value!r})")
        return float(value)

    def _triple(self, key: str, *, positive: bool = False) -> tuple[float, float, float]:
        """Three numbers; one, alone or in a list, stands for all three (as for grey pictures)."""
        value = self.value(key)
        values = list(value) if isinstance(value, list | tuple) else [value]
        numbers = [
            v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
        ]
        if len(numbers) != len(values) or len(values) not in (1, 3) or (positive and min(numbers) <= 0):
            what = "positive numbers" if positive else "numbers"
            self.refuse(key, f"must be a list of three {what}, or one (got {value!r})")
        red, green, blue = (numbers * 3)[:3]
        return float(red), float(green), float(blue)

    def mean_and_std(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """What is subtracted from rescaled values, and what they are divided by then."""
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        if self.switch("do_normalize"):
            mean, std = self._triple("image_mean"), self._triple("image_std", positive=True)
        if self.value("offset"):  # ViViT: values from -1 to 1 are normalised
            mean = (mean[0] + 1, mean[1] + 1, mean[2] + 1)
        return mean, std


def side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def as_pair(value: Any) -> tuple[int, int] | None:
    """(height, width) of a number, a pair, or an object with both; None if it is no such thing."""
    if side(value):
        return value, value
    if isinstance(value, dict):
        value = (value.get("height"), value.get("width"))
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(side, value)):
        return value[0], value[1]
    return None
