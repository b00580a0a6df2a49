"""Image bytes to normalised pixels: crop, resize, flip, with the checkpoint's own constants."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from u2a.contract.modality import Example, Inputs
from u2a.encoders.files import PretrainedOptions, config_folder, read_json
from u2a.errors import U2AError
from u2a_image.decode import decode_rgb

if TYPE_CHECKING:
    from torch import Tensor

    from u2a_image.options import ImageOptions

#: Pillow's numbers for filters, as they stand in preprocessor_config.json.
_FILTERS = {
    0: InterpolationMode.NEAREST,
    1: InterpolationMode.LANCZOS,
    2: InterpolationMode.BILINEAR,
    3: InterpolationMode.BICUBIC,
}
_ASPECT = (3 / 4, 4 / 3)  # of random crops, as in torchvision's RandomResizedCrop


@dataclass(frozen=True)
class Crop:
    """A box in shares of the picture's sides, and whether to mirror it."""

    left: float
    top: float
    width: float
    height: float
    flip: bool = False


@dataclass(frozen=True)
class PixelTransform:
    """Crops and scales uint8 pictures to a square and normalises them.

    In evaluation the largest centred square is scaled to ``resolution`` (the short side scaled, then a
    centre crop). In training: a random part of the area and aspect, mirrored half of the time.
    """

    resolution: int
    filter: int
    rescale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    augment: bool
    flip: bool
    crop_scale: tuple[float, float]

    @classmethod
    def from_options(cls, options: ImageOptions, packaged: Path) -> PixelTransform:
        """With the constants of the checkpoint's ``preprocessor_config.json``.

        Raises:
            U2AError: the file is absent or lacks a constant.
        """
        folder = config_folder(options, packaged)
        constants = read_json(folder, "preprocessor_config.json")
        normalise = constants.get("do_normalize", True)
        return cls(
            resolution=options.resolution or _checkpoint_resolution(constants, folder, options),
            filter=constants.get("resample", 2),
            rescale=constants.get("rescale_factor", 1 / 255),
            mean=_triple(constants, "image_mean", folder) if normalise else (0.0, 0.0, 0.0),
            std=_triple(constants, "image_std", folder) if normalise else (1.0, 1.0, 1.0),
            augment=options.augment,
            flip=options.flip,
            crop_scale=options.crop_scale,
        )

    def choose(self, size: tuple[int, int], *, train: bool, seed: int) -> Crop:
        """The crop for a picture of ``size`` (width, height); random in training, from ``seed`` alone."""
        draw = random.Random(seed)
        crop = _random_crop(size, self.crop_scale, draw) if train and self.augment else _centre_square(size)
        mirrored = train and self.flip and draw.random() < 0.5
        return Crop(crop.left, crop.top, crop.width, crop.height, mirrored)

    def __call__(self, pixels_CHW: Tensor, crop: Crop) -> Tensor:
        """Apply one crop to uint8 [..., 3, H, W]; float32 [..., 3, resolution, resolution]."""
        height, width = pixels_CHW.shape[-2:]
        box = (
            round(crop.top * height),
            round(crop.left * width),
            max(1, round(crop.height * height)),
            max(1, round(crop.width * width)),
        )
        side = [self.resolution, self.resolution]
        square = F.resized_crop(pixels_CHW, *box, side, interpolation=_FILTERS[self.filter], antialias=True)
        if crop.flip:
            square = F.horizontal_flip(square)
        return F.normalize(square.float() * self.rescale, list(self.mean), list(self.std))

    def sufficient_scale(self, size: tuple[int, int], crop: Crop) -> float:
        """How far a picture may be shrunk while decoding: the crop keeps twice the pixels it needs a side."""
        return min(1.0, 2 * self.resolution / min(crop.width * size[0], crop.height * size[1]))


@dataclass(frozen=True)
class ImagePreprocessor:
    """Member bytes to ``{"pixel_values": float32 [3, R, R]}``; collated ``[P, 3, R, R]``."""

    transform: PixelTransform

    @classmethod
    def from_options(cls, options: ImageOptions, packaged: Path) -> ImagePreprocessor:
        """See `PixelTransform.from_options`."""
        return cls(PixelTransform.from_options(options, packaged))

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode, crop, scale and normalise one picture.

        Raises:
            BadSample: see `u2a_image.decode.decode_rgb`.
        """
        crop: list[Crop] = []

        def shrink(size: tuple[int, int]) -> float:
            crop.append(self.transform.choose(size, train=train, seed=seed))
            return self.transform.sufficient_scale(size, crop[0])

        pixels = F.pil_to_tensor(decode_rgb(member, shrink))
        return {"pixel_values": self.transform(pixels, crop[0])}

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Stack."""
        return {"pixel_values": torch.stack([example["pixel_values"] for example in examples])}


def _centre_square(size: tuple[int, int]) -> Crop:
    width, height = size
    side = min(size)
    # Whole pixels, so that a picture that has the right size already stays as it is.
    left, top = (width - side) // 2, (height - side) // 2
    return Crop(left / width, top / height, side / width, side / height)


def _random_crop(size: tuple[int, int], scale: tuple[float, float], draw: random.Random) -> Crop:
    """torchvision's RandomResizedCrop, in shares of the sides and from a generator of our own."""
    width, height = size
    for _ in range(10):
        area = width * height * draw.uniform(*scale)
        aspect = math.exp(draw.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        share_w, share_h = math.sqrt(area * aspect) / width, math.sqrt(area / aspect) / height
        if share_w <= 1 and share_h <= 1:
            return Crop(draw.uniform(0, 1 - share_w), draw.uniform(0, 1 - share_h), share_w, share_h)
    return _centre_square(size)  # a long thin picture into which no such crop fits


def _checkpoint_resolution(constants: dict[str, Any], folder: Path, options: PretrainedOptions) -> int:
    """``crop_size``, else ``size``, else the image size of the configuration."""
    config = read_json(folder, "config.json")
    tower = config.get("vision_config", config)
    for value in (constants.get("crop_size"), constants.get("size"), tower.get("image_size")):
        if isinstance(value, dict):
            value = value.get("height", value.get("shortest_edge"))
        if isinstance(value, int) and value > 0:
            return value
    raise U2AError(f"encoder {options.encoder} states no input size: set resolution in the recipe")


def _triple(constants: dict[str, Any], name: str, folder: Path) -> tuple[float, float, float]:
    value = constants.get(name)
    if not isinstance(value, list) or len(value) != 3:
        raise U2AError(f"{folder / 'preprocessor_config.json'}: {name} must be a list of three numbers")
    return float(value[0]), float(value[1]), float(value[2])
