"""Whether a modality's record is usable; apart from the other checks, since options are of pydantic."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, get_args

from u2a.contract.extensions import EXTENSION
from u2a.contract.modality import ModalityOptions, ModalitySpec, Tune, redefines
from u2a.errors import PluginError
from u2a.plugins.checks import checked_spec


def check_spec(spec: object) -> None:
    """Refuse a registration that is incomplete or made for another contract version.

    Raises:
        PluginError: with what the contract wants (`u2a.modality.ModalitySpec`).
    """
    spec = checked_spec("modality", ModalitySpec, spec)
    if not (isinstance(spec.options, type) and issubclass(spec.options, ModalityOptions)):
        raise PluginError(f"modality {spec.name!r}: options must be a subclass of u2a.ModalityOptions")
    if spec.options.model_fields["kind"].annotation is not str:
        raise PluginError(
            f"modality {spec.name!r}: {spec.options.__name__} redefines the option 'kind', which is u2a's own; "
            "give yours another name"
        )
    if isinstance(spec.extensions, str):
        raise PluginError(
            f"modality {spec.name!r}: extensions is the text {spec.extensions!r}; "
            f"write a tuple: ({spec.extensions!r},)"
        )
    if not isinstance(spec.extensions, tuple | list):  # a set has no order, and a generator ends
        raise PluginError(
            f"modality {spec.name!r}: extensions must be a tuple, not {type(spec.extensions).__name__}"
        )
    sound = [isinstance(e, str) and re.fullmatch(EXTENSION, e) for e in spec.extensions]
    if not sound or not all(sound):
        raise PluginError(
            f"modality {spec.name!r}: extensions must be lower case, without a dot in front, at least one"
        )
    _check_tune(spec)
    _check_version(spec)
    for part in ("preprocessor", "backbone", "embedding", "encoder", "width", "lora_targets"):
        if not callable(getattr(spec, part)):
            raise PluginError(f"modality {spec.name!r}: {part} must be callable")
    for part in ("first_blocks", "skip_blocks", "to_member", "suggest", "describe", "preview"):
        if getattr(spec, part) is not None and not callable(getattr(spec, part)):
            raise PluginError(f"modality {spec.name!r}: {part} must be callable, or left out")
    _check_signature(spec, "backbone", ("options", "weights"), spec.backbone)


def _check_tune(spec: ModalitySpec) -> None:
    known = get_args(Tune)
    if not isinstance(spec.tune, str | tuple) or not spec.tunes or set(spec.tunes) - set(known):
        raise PluginError(
            f"modality {spec.name!r}: tune must be {', '.join(map(repr, known))} or a tuple of these, "
            f"not {spec.tune!r}"
        )


def _check_version(spec: ModalitySpec) -> None:
    """What one version of the contract has and the other has not."""
    if spec.api >= 2:
        if spec.share_key is not None:
            raise PluginError(f"modality {spec.name!r}: version 2 has no share_key; leave it out")
        if redefines(spec.options, "tune"):
            raise PluginError(
                f"modality {spec.name!r}: {spec.options.__name__} redefines the option 'tune', which is u2a's "
                "own since version 2; give yours another name"
            )
        return
    newer = [
        part
        for part in ("describe", "preview", "first_blocks", "skip_blocks")
        if getattr(spec, part) is not None
    ]
    newer += [] if isinstance(spec.tune, str) and spec.tune != "frozen" else [f"tune = {spec.tune!r}"]
    if newer:
        raise PluginError(
            f"modality {spec.name!r}: {newer[0]} is of contract version 2; write api=2 in the record"
        )


def _check_signature(spec: ModalitySpec, part: str, wanted: tuple[str, ...], call: Callable[..., Any]) -> None:
    try:
        inspect.signature(call).bind("options", weights=True)
    except TypeError as error:
        raise PluginError(
            f"modality {spec.name!r}: {part} must accept ({wanted[0]}, *, {wanted[1]}): {error}"
        ) from None
