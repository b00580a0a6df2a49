"""Image bytes to normalised pixels: crop, resize, flip, with the checkpoint's own constants."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from u2a.contract.modality import Example, Inputs
from u2a.errors import BadSample, U2AError
from u2a_image.constants import ImageConstants, read_constants
from u2a_image.decode import decode_rgb
from u2a_image.likeness import plain_name, unlike
from u2a_image.reader import Reader

if TYPE_CHECKING:
    from torch import Tensor

    from u2a_image.options import ImageOptions

#: Pillow's numbers of the filters that torchvision has for tensors.
_FILTERS = {
    0: InterpolationMode.NEAREST_EXACT,
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

    def cut(self, pixels: Tensor) -> Tensor:
        """The part of [C, H, W] that lies in the box, at least one pixel."""
        height, width = pixels.shape[-2:]
        top, left = round(self.top * height), round(self.left * width)
        part = pixels[..., top : top + max(1, round(self.height * height)), :]
        return part[..., left : left + max(1, round(self.width * width))]


@dataclass(frozen=True)
class View:
    """How a picture is looked at: a random crop of it, or (None) as the checkpoint's processor does."""

    crop: Crop | None
    flip: bool = False


@dataclass(frozen=True)
class PixelTransform:
    """Crops and scales uint8 pictures to one size and normalises them.

    In evaluation as the checkpoint's own image processor does. In training: a random part of the area and
    aspect, mirrored half of the time.
    """

    constants: ImageConstants
    augment: bool
    flip: bool
    crop_scale: tuple[float, float]

    @classmethod
    def from_options(cls, options: ImageOptions, packaged: Path) -> PixelTransform:
        """With the constants of the checkpoint's image processor.

        Raises:
            U2AError: its file is absent, holds a value that means nothing, or names a processor that does more.
        """
        constants = read_constants(options, packaged, options.resolution)
        _check_likeness(options, packaged)
        return cls(constants, options.augment, options.flip, options.crop_scale)

    def choose(self, size: tuple[int, int], *, train: bool, seed: int) -> View:
        """The view of a picture of ``size`` (width, height); random in training, from ``seed`` alone."""
        draw = random.Random(seed)
        crop = _random_crop(size, self.crop_scale, draw) if train and self.augment else None
        return View(crop, train and self.flip and draw.random() < 0.5)

    def __call__(self, pixels_CHW: Tensor, view: View) -> Tensor:
        """Apply one view to uint8 [3, H, W]; normalised float32 [3, height, width].

        Raises:
            BadSample: see `place`.
        """
        constants = self.constants
        pixels = pixels_CHW.float() * constants.rescale if constants.rescale_first else pixels_CHW
        pixels = self.place(pixels, view)
        return self.normalise(pixels)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Rescaled, if that was not done before, and normalised float32."""
        constants = self.constants
        pixels = pixels.float() if constants.rescale_first else pixels.float() * constants.rescale
        return F.normalize(pixels, list(constants.mean), list(constants.std))

    def place(self, pixels_CHW: Tensor, view: View) -> Tensor:
        """Crop, scale and mirror as the view says, and nothing else: [C, H, W] to [C, height, width].

        Raises:
            BadSample: the processor scales and crops nothing, and the picture has another size.
        """
        placed = self._own_view(pixels_CHW) if view.crop is None else self._cut(pixels_CHW, view.crop)
        return F.horizontal_flip(placed) if view.flip else placed

    def _own_view(self, pixels: Tensor) -> Tensor:
        constants = self.constants
        height, width = pixels.shape[-2:]
        if constants.edge is not None:
            pixels = resize(pixels, _by_short_side(height, width, constants.edge), constants.filter)
        elif constants.box is not None:
            pixels = resize(pixels, constants.box, constants.filter)
        if constants.crop is not None:
            return _centre(pixels, constants.crop)
        if constants.exact is not None and (height, width) != constants.exact:
            raise BadSample(
                f"the picture is {width} x {height}; the encoder's do_resize is false, so it takes "
                f"{constants.exact[1]} x {constants.exact[0]} only, unless the recipe sets resolution"
            )
        return pixels

    def _cut(self, pixels: Tensor, crop: Crop) -> Tensor:
        return resize(crop.cut(pixels), self.constants.output, self.constants.filter)

    def sufficient_scale(self, size: tuple[int, int], view: View) -> float:
        """How far a picture may be shrunk while decoding: twice the pixels that are needed a side remain."""
        height, width = self.constants.output
        if view.crop is not None:
            crop = view.crop
            return min(1.0, 2 * max(width / (crop.width * size[0]), height / (crop.height * size[1])))
        if self.constants.edge is not None:
            return min(1.0, 2 * self.constants.edge / min(size))
        if self.constants.box is not None:
            return min(1.0, 2 * max(self.constants.box[1] / size[0], self.constants.box[0] / size[1]))
        return 1.0


def _check_likeness(options: ImageOptions, packaged: Path) -> None:
    """Refuse a processor that does something else than u2a in its place, whatever size the recipe sets."""
    try:
        constants = read_constants(options, packaged, None)
    except U2AError:  # the recipe's size takes the place of what cannot be had
        return
    reader, own = Reader(options, packaged), PixelTransform(constants, False, False, (1.0, 1.0))
    if why := unlike(reader, lambda pixels: own(pixels, View(None, False)), constants.exact):
        name = plain_name(reader.processor)
        reader.refuse("image_processor_type", f"{name} does something that u2a does not: {why}")


def resize(pixels_CHW: Tensor, size: tuple[int, int], filter: int) -> Tensor:
    """Scale to (height, width) with one of Pillow's filters; torchvision has three of them for tensors."""
    if tuple(pixels_CHW.shape[-2:]) == size:
        return pixels_CHW
    if filter in _FILTERS:
        return F.resize(pixels_CHW, list(size), interpolation=_FILTERS[filter], antialias=True)
    if pixels_CHW.dtype != torch.uint8:  # Pillow has float pictures of one channel only
        return torch.cat([_by_pillow(channel, size, filter) for channel in pixels_CHW.split(1, 0)])
    return _by_pillow(pixels_CHW, size, filter)


def _by_pillow(pixels_CHW: Tensor, size: tuple[int, int], filter: int) -> Tensor:
    image = F.to_pil_image(pixels_CHW).resize(size[::-1], Image.Resampling(filter))
    return F.pil_to_tensor(image)


def _by_short_side(height: int, width: int, edge: int) -> tuple[int, int]:
    if height <= width:
        return edge, int(edge * width / height)
    return int(edge * height / width), edge


def _centre(pixels_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of a picture, black where it is too small; half pixels are rounded as transformers does."""
    (height, width), (H, W) = pixels_CHW.shape[-2:], size
    over_x, over_y = max(0, W - width), max(0, H - height)
    if over_x or over_y:
        sides = [over_x // 2, over_y // 2, (over_x + 1) // 2, (over_y + 1) // 2]
        pixels_CHW = F.pad(pixels_CHW, sides, fill=0)
        height, width = pixels_CHW.shape[-2:]
    top, left = (height - H) // 2, (width - W) // 2
    return pixels_CHW[..., top : top + H, left : left + W]


@dataclass(frozen=True)
class ImagePreprocessor:
    """Member bytes to ``{"pixel_values": float32 [3, H, W]}``; collated ``[P, 3, H, W]``."""

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
        view: list[View] = []

        def shrink(size: tuple[int, int]) -> float:
            view.append(self.transform.choose(size, train=train, seed=seed))
            return self.transform.sufficient_scale(size, view[0])

        pixels = F.pil_to_tensor(decode_rgb(member, shrink))
        return {"pixel_values": self.transform(pixels, view[0])}

    def constants(self) -> dict[str, Any]:
        """How bytes become inputs, for programs without u2a; see `u2a.modality.Preprocessor`."""
        return {"reader": "image", **asdict(self.transform.constants)}

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
