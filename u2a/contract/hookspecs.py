"""The hooks that a plugin may implement. This file is the reference; `docs/plugins.md` is made from it.

A plugin is a module (or object) behind an entry point of the group ``u2a``::

    [project.entry-points.u2a]
    depth = "u2a_plugin_depth"

whose functions carry ``@u2a.hookimpl``. Keep the module's imports light: torch belongs inside functions. What a
plugin brings may be said by the groups ``u2a.modalities``, ``u2a.loggers``, ``u2a.metrics``, ``u2a.commands``
and ``u2a.engines`` as well: it is then imported only where that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from u2a.contract.engines import EngineSpec
    from u2a.contract.extensions import CommandSpec, LoggerSpec, MetricSpec
    from u2a.contract.modality import ModalitySpec

hookspec = pluggy.HookspecMarker("u2a")
hookimpl = pluggy.HookimplMarker("u2a")


@hookspec
def u2a_register_modalities(register: Callable[[ModalitySpec], None]) -> None:
    """Call ``register(spec)`` once for each modality that this plugin brings.

    The record holds embedding, encoder and preprocessor together (see `u2a.modality.ModalitySpec`).
    It is refused, with the plugin's distribution named, if the name is taken, a part is missing or of
    the wrong kind, or ``spec.api`` is a contract version that this u2a cannot run.
    """


@hookspec
def u2a_register_loggers(register: Callable[[LoggerSpec], None]) -> None:
    """Call ``register(spec)`` once for each logger that this plugin brings (see `u2a.LoggerSpec`).

    Recipes name loggers in ``training.loggers``; ``metrics.jsonl`` is written in any case. A logger that
    fails while training is told of in one line, with the plugin's distribution, and left out from then on.
    """


@hookspec
def u2a_register_metrics(register: Callable[[MetricSpec], None]) -> None:
    """Call ``register(spec)`` once for each metric that this plugin brings (see `u2a.MetricSpec`).

    A metric is reported for every task whose kind it fits, and a recipe may name it in ``task.metric``: it
    then picks the best checkpoint and heads every report. One that fails is NaN, told of in one line; as the
    recipe's own metric it is an error that names the plugin's distribution.
    """


@hookspec
def u2a_register_commands(register: Callable[[CommandSpec], None]) -> None:
    """Call ``register(spec)`` once for each command that this plugin adds to ``u2a`` (see `u2a.CommandSpec`).

    A command of u2a's own is never replaced. One that cannot be loaded or that fails is told of in one line,
    with the plugin's distribution, and disturbs no other.
    """


@hookspec
def u2a_register_engines(register: Callable[[EngineSpec], None]) -> None:
    """Call ``register(spec)`` once for each engine that this plugin brings (see `u2a.EngineSpec`).

    ``u2a train``, ``sweep``, ``predict --manifest`` and ``data pack`` take ``--engine NAME``: the same work,
    with the same result, on processes that the engine starts.
    """


GROUP = "u2a"
