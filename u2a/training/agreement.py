"""One decision for all processes of a training: the first one looks at the run folder, and all follow it.

On several machines a run folder may be on the first one's disk alone, or an older one of the same name on
another's. So no other process asks its own disk what to do: it is told, and gets the state that is gone on
from. What each has for itself (recipe, data, encoders, versions) is held against the first one's before the
first step.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from u2a.common.distributed import World, share_buffers, share_tensors, sum_over_processes
from u2a.errors import U2AError
from u2a.method.model import U2A
from u2a.runs.checkpoint import adapter_state, learnable, optimizer_state

T = TypeVar("T")


def told_by_first(make: Callable[[], T], place: World) -> T:
    """What the first process makes, on every process (its values are pickled); or its error on all.

    Raises:
        U2AError: what `make` raised.
    """
    found: list[T | U2AError | None] = [None]
    if place.main:
        try:
            found = [make()]
        except U2AError as error:
            found = [error]
    if place.size > 1:
        dist.broadcast_object_list(found, device=place.device)
    if isinstance(found[0], U2AError):
        raise found[0]
    return cast(T, found[0])


def made_by_all(make: Callable[[], T], place: World) -> T:
    """What each process makes for itself; where one cannot, none waits for it.

    Raises:
        U2AError: this process's error, or that of another, with its host.
    """
    made: list[T] = []
    error: U2AError | None = None
    try:
        made.append(make())
    except U2AError as met:
        error = met
    if place.size > 1 and dist.is_initialized():
        told: list[Any] = [None] * place.size
        dist.all_gather_object(told, None if error is None else (socket.gethostname(), str(error)))
        for rank, one in enumerate(told):
            if one is not None and error is None:
                error = U2AError(f"process {rank} (host {one[0]}): {one[1]}")
    if error is not None:
        raise error
    return made[0]


def hold_together(facts: Mapping[str, Any], place: World) -> None:
    """Refuse where a process has other facts than the first one; on every process, with the same words.

    Args:
        facts: what must be equal everywhere, by what people call it; plain values.

    Raises:
        U2AError: names the process, its host and what differs.
    """
    if place.size == 1:
        return
    wanted = told_by_first(lambda: dict(facts), place)
    differing = [name for name in {**wanted, **facts} if facts.get(name) != wanted.get(name)]
    told: list[Any] = [None] * place.size
    dist.all_gather_object(told, (socket.gethostname(), differing))
    for rank, (host, names) in enumerate(told):
        if names:
            raise U2AError(
                f"process {rank} (host {host}) has another {', another '.join(names)} than process 0 "
                f"(host {told[0][0]}); give all of them the same"
            )


def flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested tables by dotted keys, for `hold_together` to name."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def share_state(model: U2A, optimizer: torch.optim.Optimizer, place: World) -> None:
    """Give every process the first one's learned tensors, statistics and optimizer state."""
    if place.size == 1:
        return
    share_adapter(model, place)
    mine = {key: value.cpu() for key, value in optimizer_state(model, optimizer).items()}
    parameters = dict(learnable(model))
    for key, value in told_by_first(lambda: mine, place).items():
        entry, name = key.split("/", 1)
        parameter = parameters[name]
        device = value.device if entry == "step" else parameter.device
        optimizer.state[parameter][entry] = value.to(device)


def share_adapter(model: U2A, place: World) -> None:
    """Give every process the first one's learned tensors and statistics."""
    share_tensors(adapter_state(model).values(), place)


def encoders_of(model: U2A) -> dict[str, Any]:
    """The identity of each modality's pretrained weights, wherever they lie."""
    places = ("id", "revision")
    return {
        f"encoder of {branch.name}": {key: v for key, v in branch.base.items() if key not in places}
        for branch in model.each_branch()
    }


def added_up(counts: Sequence[int], place: World) -> list[int]:
    """Each count summed over the processes."""
    device = place.device if place.size > 1 else "cpu"
    return sum_over_processes(torch.tensor(counts, device=device), place).tolist()


def share_trained_buffers(model: U2A, place: World) -> None:
    """Buffers of encoders that are trained whole, as the first process has them."""
    for branch in model.each_branch():
        if branch.spec.tune == "full":
            share_buffers(branch.backbone, place)
