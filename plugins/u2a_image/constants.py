"""What a checkpoint's own image processor does: every switch of its file, checked, with its class's defaults.

``processor_config.json`` (transformers 5 nests the image processor in it) is read before
``preprocessor_config.json``, as transformers does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from u2a.encoders.files import PretrainedOptions
from u2a_image.reader import Reader, as_pair, side


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
    known = _Geometry(options, packaged)
    tower = known.config.get("vision_config", known.config)
    native = as_pair(tower.get("image_size", tower.get("crop_size"))) if isinstance(tower, dict) else None
    return known.constants(native, resolution)


class _Geometry(Reader):
    """How pictures come to one size."""

    def constants(self, native: tuple[int, int] | None, resolution: int | None) -> ImageConstants:
        self.refuse_unknown_switches()
        edge, box = self._resize(native) if self.switch("do_resize") else (None, None)
        crop = self._crop(edge, box) if self.switch("do_center_crop") else None
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
        mean, std = self.mean_and_std()
        return ImageConstants(
            edge,
            box,
            crop,
            exact,
            self.filter(),
            self.factor() if self.switch("do_rescale") else 1.0,
            type(self.processor).__name__.startswith("DINOv3"),
            mean,
            std,
        )

    def _resize(self, native: tuple[int, int] | None) -> tuple[int | None, tuple[int, int] | None]:
        given, own = self.raw.get("size"), getattr(self.processor, "size", None)
        if type(self.processor).__name__.startswith("VJEPA2"):  # from what is cut, whatever the file says
            return int(self.processor.size["shortest_edge"]), None
        if given is None and self.raw.get("crop_size") is None and native is not None:
            if getattr(own, "shortest_edge", None):
                return min(native), None
            return None, native
        if isinstance(given, dict):
            edges = {key for key, value in given.items() if value is not None}
        else:
            edges = {"height", "width"} if as_pair(getattr(own, "__dict__", None)) else {"shortest_edge"}
            given = None if own is None else dict(own)
        if edges == {"shortest_edge"} and side(given.get("shortest_edge")):
            return int(given["shortest_edge"]), None
        if edges == {"height", "width"} and (pair := as_pair(given)):
            return None, pair
        self.refuse(
            "size", f"must be shortest_edge, or height and width, above 0 (got {self.raw.get('size')!r})"
        )
        raise AssertionError

    def _crop(self, edge: int | None, box: tuple[int, int] | None) -> tuple[int, int] | None:
        given = self.raw.get("crop_size")
        if given is None:  # cut what was scaled
            own = getattr(self.processor, "crop_size", None)
            return (edge, edge) if edge else box or as_pair(None if own is None else dict(own))
        pair = as_pair(given)
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
