"""Pictures of any shape as rows of patches, for SigLIP 2's encoders that take them so (NaFlex)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence
from torchvision.transforms.v2 import functional as F

from u2a.contract.modality import Example, Inputs
from u2a_image.constants import ImageConstants
from u2a_image.decode import decode_rgb
from u2a_image.preprocess import PixelTransform, resize
from u2a_image.reader import Reader, side

if TYPE_CHECKING:
    from torch import Tensor

    from u2a_image.options import ImageOptions


@dataclass(frozen=True)
class PatchPreprocessor:
    """Member bytes to ``pixel_values``, float [patches, 3 * patch * patch], and ``spatial_shapes``, long [2].

    A picture keeps its shape and becomes as many patches as fit into ``most``. Collated: padded with zeros,
    and ``pixel_attention_mask``, long [P, L].
    """

    transform: PixelTransform
    patch: int
    most: int

    @classmethod
    def from_options(cls, options: ImageOptions, packaged: Path) -> PatchPreprocessor:
        """With the checkpoint's constants; ``resolution`` asks for as many patches as such a square has.

        Raises:
            U2AError: the processor's file is absent, or a value in it means nothing.
        """
        known = Reader(options, packaged)
        known.refuse_unknown_switches()
        if not known.switch("do_resize"):
            known.refuse("do_resize", "is false: pictures of any size have no whole number of patches")
        values = {key: known.value(key) for key in ("patch_size", "max_num_patches")}
        for key, value in values.items():
            if not side(value):
                known.refuse(key, f"must be a whole number above 0 (got {value!r})")
        patch, most = values["patch_size"], values["max_num_patches"]
        if options.resolution is not None:
            most = max(1, options.resolution // patch) ** 2
        rescale = known.factor() if known.switch("do_rescale") else 1.0
        mean, std = known.mean_and_std()
        constants = ImageConstants(None, None, None, None, known.filter(), rescale, False, mean, std)
        transform = PixelTransform(constants, options.augment, options.flip, options.crop_scale)
        return cls(transform, patch, most)

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode, crop (in training), scale and normalise one picture, and cut it into patches.

        Raises:
            BadSample: see `u2a_image.decode.decode_rgb`.
        """
        pixels = F.pil_to_tensor(decode_rgb(member))
        view = self.transform.choose((pixels.shape[2], pixels.shape[1]), train=train, seed=seed)
        if view.crop is not None:
            pixels = view.crop.cut(pixels)
        pixels = resize(pixels, self._size(pixels), self.transform.constants.filter)
        pixels = self.transform.normalise(F.horizontal_flip(pixels) if view.flip else pixels)
        down, across = (length // self.patch for length in pixels.shape[1:])
        cut = pixels.reshape(3, down, self.patch, across, self.patch).permute(1, 3, 2, 4, 0)
        shape = torch.tensor([down, across])
        return {"pixel_values": cut.reshape(down * across, -1), "spatial_shapes": shape}

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Pad to the most patches."""
        rows = [example["pixel_values"] for example in examples]
        ones = [torch.ones(len(row), dtype=torch.long) for row in rows]
        return {
            "pixel_values": pad_sequence(rows, batch_first=True),
            "pixel_attention_mask": pad_sequence(ones, batch_first=True),
            "spatial_shapes": torch.stack([example["spatial_shapes"] for example in examples]),
        }

    def _size(self, pixels: Tensor) -> tuple[int, int]:
        from transformers.models.siglip2.image_processing_siglip2 import get_image_size_for_max_num_patches

        height, width = pixels.shape[-2:]
        return get_image_size_for_max_num_patches(height, width, self.patch, self.most)
