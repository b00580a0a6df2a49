"""Whether a registration is usable: complete, of the right kinds, for a contract version that this u2a runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar, get_args

from u2a.contract.engines import EngineSpec
from u2a.contract.extensions import NAME, CommandSpec, LoggerSpec, MetricForm, MetricSpec, TaskKind
from u2a.contract.names import COMMANDS, check_name
from u2a.contract.versions import SUPPORTED_API
from u2a.errors import PluginError

if TYPE_CHECKING:
    from u2a.contract.modality import ModalitySpec

S = TypeVar("S", CommandSpec, EngineSpec, LoggerSpec, MetricSpec, "ModalitySpec")


def check_logger(spec: object) -> None:
    """Refuse a registration that is no usable `LoggerSpec`.

    Raises:
        PluginError: with what the contract wants.
    """
    spec = checked_spec("logger", LoggerSpec, spec)
    if not callable(spec.open):
        raise PluginError(f"logger {spec.name!r}: open must be callable")


def check_metric(spec: object) -> None:
    """Refuse a registration that is no usable `MetricSpec`.

    Raises:
        PluginError: with what the contract wants.
    """
    spec = checked_spec("metric", MetricSpec, spec)
    if not callable(spec.compute):
        raise PluginError(f"metric {spec.name!r}: compute must be callable")
    if not isinstance(spec.higher_is_better, bool):
        raise PluginError(f"metric {spec.name!r}: higher_is_better must be True or False")
    kinds = get_args(TaskKind)
    if not isinstance(spec.task_kinds, tuple) or not spec.task_kinds or set(spec.task_kinds) - set(kinds):
        raise PluginError(
            f"metric {spec.name!r}: task_kinds must be a tuple of {' and '.join(map(repr, kinds))}"
        )
    for part in ("headline_of", "selects_for"):
        if not isinstance(getattr(spec, part), tuple) or set(getattr(spec, part)) - set(spec.task_kinds):
            raise PluginError(f"metric {spec.name!r}: {part} must be a tuple of its own task_kinds")
    if spec.form not in (None, *get_args(MetricForm)):
        raise PluginError(
            f"metric {spec.name!r}: form must be None or one of {', '.join(get_args(MetricForm))}"
        )


def check_command(spec: object) -> None:
    """Refuse a registration that is no usable `CommandSpec`, or that would hide a command of u2a's own.

    Raises:
        PluginError: with what the contract wants.
    """
    spec = checked_spec("command", CommandSpec, spec)
    if not callable(spec.load):
        raise PluginError(f"command {spec.name!r}: load must be callable")
    if spec.group not in COMMANDS:
        groups = ", ".join(map(repr, filter(None, COMMANDS)))
        raise PluginError(f"command {spec.name!r}: no group {spec.group!r}; there are {groups}, '' = none")
    if spec.name in COMMANDS[spec.group]:
        typed = f"u2a {spec.group} {spec.name}".replace("  ", " ")
        raise PluginError(f"command {spec.name!r}: `{typed}` is u2a's own; take another name")


def check_engine(spec: object) -> None:
    """Refuse a registration that is no usable `EngineSpec`.

    Raises:
        PluginError: with what the contract wants.
    """
    spec = checked_spec("engine", EngineSpec, spec)
    if not callable(spec.load):
        raise PluginError(f"engine {spec.name!r}: load must be callable")


def checked_spec(what: str, wanted: type[S], spec: object) -> S:
    """A registration of any kind, once its type, contract version and name are right.

    Raises:
        PluginError: with what the contract wants.
    """
    if not isinstance(spec, wanted):
        raise PluginError(f"register() wants a {wanted.__name__}, got {type(spec).__name__}")
    if type(spec.api) is not int or spec.api not in SUPPORTED_API:
        versions = " and ".join(map(str, SUPPORTED_API))
        raise PluginError(
            f"{what} {spec.name!r} was made for contract version {spec.api!r}; "
            f"this u2a runs versions {versions}"
        )
    if not isinstance(spec.name, str) or not re.fullmatch(NAME, spec.name):
        raise PluginError(f"{what} name {spec.name!r} is not made of lower-case letters, digits and _")
    check_name(what, spec.name)
    for part in ("help", "module", "install", "label"):
        if not isinstance(getattr(spec, part, ""), str):
            raise PluginError(f"{what} {spec.name!r}: {part} must be text")
    return spec
