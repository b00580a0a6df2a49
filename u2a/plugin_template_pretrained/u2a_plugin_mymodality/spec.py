"""The record of the mymodality modality. Light: nothing here imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

import u2a

if TYPE_CHECKING:
    from u2a_plugin_mymodality.preprocess import MyModalityPreprocessor


class MyModalityOptions(u2a.PretrainedOptions):
    """A recipe's section of kind ``mymodality``."""

    longest: int = Field(64, gt=0, description="most letters of a text; longer ones are cut")


def preprocessor(options: MyModalityOptions) -> MyModalityPreprocessor:
    """See `u2a_plugin_mymodality.preprocess.MyModalityPreprocessor`."""
    from u2a_plugin_mymodality.preprocess import MyModalityPreprocessor

    return MyModalityPreprocessor(options.longest)


def to_member(value: Any) -> bytes:
    """A string as UTF-8."""
    if not isinstance(value, str):
        raise u2a.BadSample(f"must be a str, not {type(value).__name__}")
    return value.encode()


MYMODALITY = u2a.transformers_modality(
    "mymodality", "BertModel", ("txt",), preprocessor, options=MyModalityOptions, to_member=to_member
)
