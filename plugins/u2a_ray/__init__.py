"""The engine ``ray``: trainings, sweeps, predictions and packings on the processes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable

import u2a


@u2a.hookimpl
def u2a_register_engines(register: Callable[[u2a.EngineSpec], None]) -> None:
    """``--engine ray``."""
    told = "a Ray cluster: that of RAY_ADDRESS, else one of this machine"
    register(u2a.EngineSpec("ray", _load, help=told, module="ray", install='pip install "u2a[ray]"'))


def _load() -> u2a.Engine:
    from u2a_ray.engine import RayEngine

    return RayEngine()
