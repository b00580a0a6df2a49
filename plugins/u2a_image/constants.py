"""What a checkpoint's own image processor does: every switch of its file, checked, with its class's defaults.

``processor_config.json`` (transformers 5 nests the image processor in it) is read before
``preprocessor_config.json``, as transformers does.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from u2a.encoders.files import PretrainedOptions, config_folder, read_json
from u2a.encoders.loading import quiet
from u2a.errors import U2AError

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
    "siglip": "SiglipImageProcessor",
    "siglip_vision_model": "SiglipImageProcessor",
}
_OBEYED = {"do_resize", "do_center_crop", "do_rescale", "do_normalize"}
_NO_MATTER = {"do_convert_rgb", "do_reduce_labels"}  # pictures are RGB already; there are no label maps
_FILTERS = range(6)  # Pillow's numbers


@dataclass(frozen=True)
class ImageConstants:
    """Sizes are (height, width).

    Attributes:
        edge: the length that the shorter side is scaled to; None = not so.
        box: the size that a picture is scaled to, whatever its shape; None = not so.
        crop: the size that is cut from the middle (or padded to) after that; None = nothing is cut.
        exact: the size that pictures must have where nothing brings them to one.
        filter: Pillow's number of the resampling filter.
        rescale: what 8-bit values are multiplied with.
        rescale_first: whether that is done before they are resampled, so that these are not rounded.
    """

    edge: int | None
    box: tuple[int, int] | None
    crop: tuple[int, int] | None
    exact: tuple[int, int] | None
    filter: int
    rescale: float
    rescale_first: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def output(self) -> tuple[int, int]:
        """The size of every result."""
        size = self.crop or self.box or self.exact
        assert size is not None
        return size


def read_constants(options: PretrainedOptions, packaged: Path, resolution: int | None) -> ImageConstants:
    """The constants of a checkpoint, scaled to ``resolution`` (a square) where the recipe sets one.

    Raises:
        U2AError: the file is absent, or a value in it means nothing here; names file and key.
    """
    folder = config_folder(options, packaged)
    path, raw = image_processor_file(folder)
    config = read_json(folder, "config.json")
    known = _Reader(path, raw, _processor(path, raw, str(config.get("model_type"))))
    tower = config.get("vision_config", config)
    native = _pair(tower.get("image_size")) if isinstance(tower, dict) else None
    return known.constants(native, resolution)


def image_processor_file(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file that holds the image processor's values, and the values.

    Raises:
        U2AError: there is none.
    """
    if (folder / "processor_config.json").is_file():
        nested = read_json(folder, "processor_config.json").get("image_processor")
        if isinstance(nested, dict):
            return folder / "processor_config.json", nested
    return folder / "preprocessor_config.json", read_json(folder, "preprocessor_config.json")


def _processor(path: Path, raw: dict[str, Any], model_type: str) -> Any:
    """transformers' processor with these values: only asked for what the file leaves out."""
    import transformers
    from transformers.image_processing_utils import BaseImageProcessor

    named = raw.get("image_processor_type") or raw.get("feature_extractor_type")
    name = str(named or DEFAULTS.get(model_type, "ViTImageProcessor")).replace(
        "FeatureExtractor", "ImageProcessor"
    )
    name = re.sub(r"(Fast|Pil)$", "", name)
    found = getattr(transformers, name, None) if re.fullmatch(r"[A-Za-z0-9]+ImageProcessor", name) else None
    if not isinstance(found, type) or not issubclass(found, BaseImageProcessor):
        raise U2AError(f"{path}: image_processor_type: {named!r} is no image processor of transformers")
    try:
        with quiet():
            return found.from_dict(dict(raw))  # type: ignore[attr-defined]
    except Exception as error:  # of many kinds
        raise U2AError(f"{path}: cannot be used: {' '.join(str(error).split())[:200]}") from None


class _Reader:
    """Values by key, each refused by file and key if it means nothing."""

    def __init__(self, path: Path, raw: dict[str, Any], processor: Any) -> None:
        self.path, self.raw, self.processor = path, raw, processor

    def constants(self, native: tuple[int, int] | None, resolution: int | None) -> ImageConstants:
        self._refuse_unknown_switches()
        edge, box = self._resize(native) if self._switch("do_resize") else (None, None)
        crop = self._crop(edge, box) if self._switch("do_center_crop") else None
        if edge is not None and crop is None and self.raw.get("do_center_crop") is None:
            crop = self._crop(edge, box)  # pictures of many shapes make no batch
        exact = None
        if resolution is not None:
            edge, box, crop = _scaled(edge, box, crop, resolution)
        elif edge is not None and crop is None:
            self.refuse(
                "do_center_crop", "is false: each picture has a shape of its own; set resolution in the recipe"
            )
        elif edge is None and box is None and crop is None:
            exact = native
            if exact is None:
                self.refuse(
                    "do_resize", "is false and config.json has no image_size; set resolution in the recipe"
                )
        normalise, rescale = self._switch("do_normalize"), self._switch("do_rescale")
        return ImageConstants(
            edge,
            box,
            crop,
            exact,
            self._filter(),
            self._factor() if rescale else 1.0,
            type(self.processor).__name__.startswith("DINOv3"),
            self._triple("image_mean") if normalise else (0.0, 0.0, 0.0),
            self._triple("image_std", positive=True) if normalise else (1.0, 1.0, 1.0),
        )

    def refuse(self, key: str, why: str) -> None:
        raise U2AError(f"{self.path}: {key}: {why}")

    def _refuse_unknown_switches(self) -> None:
        for key in (key for key in self.raw if key.startswith("do_")):
            if key not in _OBEYED | _NO_MATTER and self.raw[key]:
                self.refuse(key, "is not known to u2a; save the file with it switched off, if it may be off")

    def _switch(self, key: str) -> bool:
        value = self.raw.get(key, getattr(self.processor, key, None))
        if value not in (None, True, False):
            self.refuse(key, f"must be true or false (got {value!r})")
        return bool(value)

    def _value(self, key: str) -> Any:
        value = self.raw.get(key)
        return getattr(self.processor, key, None) if value is None else value

    def _filter(self) -> int:
        value = self._value("resample")
        if isinstance(value, bool) or not isinstance(value, int) or value not in _FILTERS:
            self.refuse("resample", f"must be one of Pillow's filters, 0 to 5 (got {value!r})")
        return int(value)

    def _factor(self) -> float:
        value = self._value("rescale_factor")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            self.refuse("rescale_factor", f"must be a positive number (got {value!r})")
        return float(value)

    def _triple(self, key: str, *, positive: bool = False) -> tuple[float, float, float]:
        """Three numbers; one, alone or in a list, stands for all three (as for grey pictures)."""
        value = self._value(key)
        values = list(value) if isinstance(value, list | tuple) else [value]
        numbers = [
            v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
        ]
        if len(numbers) != len(values) or len(values) not in (1, 3) or (positive and min(numbers) <= 0):
            what = "positive numbers" if positive else "numbers"
            self.refuse(key, f"must be a list of three {what}, or one (got {value!r})")
        red, green, blue = (numbers * 3)[:3]
        return float(red), float(green), float(blue)

    def _resize(self, native: tuple[int, int] | None) -> tuple[int | None, tuple[int, int] | None]:
        given, own = self.raw.get("size"), getattr(self.processor, "size", None)
        if given is None and self.raw.get("crop_size") is None and native is not None:
            if getattr(own, "shortest_edge", None):
                return min(native), None
            return None, native
        if isinstance(given, dict):
            edges = {key for key, value in given.items() if value is not None}
        else:
            edges = {"height", "width"} if _pair(getattr(own, "__dict__", None)) else {"shortest_edge"}
            given = None if own is None else dict(own)
        if edges == {"shortest_edge"} and _side(given.get("shortest_edge")):
            return int(given["shortest_edge"]), None
        if edges == {"height", "width"} and (pair := _pair(given)):
            return None, pair
        self.refuse(
            "size", f"must be shortest_edge, or height and width, above 0 (got {self.raw.get('size')!r})"
        )
        raise AssertionError

    def _crop(self, edge: int | None, box: tuple[int, int] | None) -> tuple[int, int] | None:
        given = self.raw.get("crop_size")
        if given is None:  # cut what was scaled
            own = getattr(self.processor, "crop_size", None)
            return (edge, edge) if edge else box or _pair(None if own is None else dict(own))
        pair = _pair(given)
        if pair is None:
            self.refuse("crop_size", f"must be height and width above 0 (got {given!r})")
        return pair


def _scaled(
    edge: int | None, box: tuple[int, int] | None, crop: tuple[int, int] | None, resolution: int
) -> tuple[int | None, tuple[int, int] | None, tuple[int, int]]:
    """The same steps for a square of another side: what is cut off stays the same share."""
    square = (resolution, resolution)
    if edge is not None:
        return (max(1, round(edge * resolution / min(crop))) if crop else resolution), None, square
    if box is not None and crop is not None:
        return None, (round(box[0] * resolution / crop[0]), round(box[1] * resolution / crop[1])), square
    return (None, square, square) if box is not None else (resolution, None, square)


def _side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _pair(value: Any) -> tuple[int, int] | None:
    """(height, width) of a number, a pair, or an object with both; None if it is no such thing."""
    if _side(value):
        return value, value
    if isinstance(value, dict):
        value = (value.get("height"), value.get("width"))
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(_side, value)):
        return value[0], value[1]
    return None
