"""The record of the features modality. Light: torch is imported inside the functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

import u2a
from u2a.contract.modality import Suggestion

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn

    from u2a_plugin_features.preprocess import FeaturesPreprocessor

Positive = Annotated[FiniteFloat, Field(gt=0)]


def _some(values: Any) -> Any:
    if isinstance(values, tuple) and not values:
        raise ValueError("is an empty list")
    return values


class FeaturesOptions(u2a.ModalityOptions):
    """A recipe's section of kind ``features``."""

    size: int = Field(gt=0, le=1_000_000, description="numbers in a vector", examples=[512])
    longest: int = Field(
        128, gt=0, description="most vectors of a sequence; of a longer one, equal parts are averaged"
    )
    mean: Annotated[FiniteFloat | tuple[FiniteFloat, ...] | None, AfterValidator(_some)] = Field(
        None,
        description="what is subtracted: one number, or one for each place; with neither this nor std, the "
        "mean of the training samples",
    )
    std: Annotated[Positive | tuple[Positive, ...] | None, AfterValidator(_some)] = Field(
        None,
        description="what is divided by: one number, or one for each place; with neither this nor mean, the "
        "standard deviation of the training samples",
    )
    width: int = Field(64, gt=0, description="width of the transformer")
    layers: int = Field(2, gt=0, description="blocks of the transformer")
    heads: int = Field(4, gt=0, description="attention heads of a block; they divide the width")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout after attention and feed-forward")

    @model_validator(mode="after")
    def _sizes_fit(self) -> FeaturesOptions:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) is not divisible by heads ({self.heads})")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if isinstance(values, tuple) and len(values) != self.size:
                raise ValueError(f"{name} has {len(values)} numbers for size = {self.size}")
        return self


def preprocessor(options: FeaturesOptions) -> FeaturesPreprocessor:
    """See `u2a_plugin_features.preprocess.FeaturesPreprocessor`."""
    from u2a_plugin_features.preprocess import FeaturesPreprocessor

    return FeaturesPreprocessor(options.size, options.longest, options.mean, options.std)


def network(options: FeaturesOptions) -> nn.Module:
    """The transformer, freshly initialised: it is trained whole and saved whole."""
    from u2a_plugin_features.network import FeatureTransformer

    o = options
    standardise = o.mean is None and o.std is None
    return FeatureTransformer(o.size, o.longest, o.width, o.layers, o.heads, o.dropout, standardise=standardise)


def to_member(value: Any) -> bytes:
    """An array, tensor or list, [size] or [T, size], as NPY bytes."""
    from u2a_plugin_features.decode import encode_npy

    return encode_npy(value)


def suggest(size: str, members: Sequence[bytes], given: Mapping[str, Any]) -> Suggestion | None:
    """The numbers that most vectors have; None if the members are no vectors."""
    from u2a_plugin_features.decode import size_of

    sizes = Counter(found for member in members if (found := size_of(member)))
    if sum(sizes.values()) < max(1, len(members) / 2):
        return None
    if "size" in given:
        return Suggestion({})
    return Suggestion({"size": sizes.most_common(1)[0][0]}, {"size": "numbers in a vector"})


def describe(options: FeaturesOptions, member: bytes) -> u2a.Description:
    """How many vectors there are, without padding."""
    from u2a_plugin_features.decode import decode_vectors

    return u2a.Description("vectors", {"vectors": len(decode_vectors(member, options.size))})


def preview(options: FeaturesOptions, member: bytes, width: int) -> Image:
    """A row a vector: grey is the mean, white 3 deviations above; the recipe's, else this member's own."""
    from u2a_plugin_features.shown import own_scale, picture

    values_TF = preprocessor(options)(member, train=False, seed=0)["values"].numpy()
    given = options.mean is not None or options.std is not None
    return picture(values_TF if given else own_scale(values_TF), width)


FEATURES = u2a.network_modality(
    "features",
    network,
    ("npy",),
    preprocessor,
    options=FeaturesOptions,
    to_member=to_member,
    suggest=suggest,
    describe=describe,
    preview=preview,
)
