"""One process or many under torchrun: rank, device, threads, and the few collectives that u2a uses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from u2a.common.cores import cores
from u2a.common.launchers import REMEDY, check_copies, check_meeting_place, launched
from u2a.errors import LostTouch, U2AError, one_line

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process's place among all processes, and the device it computes on."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    device: torch.device

    @property
    def main(self) -> bool:
        """True on the one process that writes files and speaks to the user."""
        return self.rank == 0


def is_main_process() -> bool:
    """True on the one process of a torchrun job that speaks to the user, and without torchrun."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def world(device: str) -> Iterator[World]:
    """Join the process group that torchrun describes, if any; leave it at the end.

    A group that the caller's script made already is used, and left as it is.

    Args:
        device: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N`` (recipe key ``training.device``).

    Raises:
        U2AError: the device is not there, or the environment says nonsense of the processes.
    """
    place = _place(device)
    if place.size == 1 and not dist.is_initialized():
        check_copies()
    joined = place.size > 1 and not dist.is_initialized()
    if joined:
        check_meeting_place()
    try:
        if joined:
            _join(place)
        yield place
    except RuntimeError as error:
        if place.size > 1 and _lost_touch(error):
            raise LostTouch(
                f"process {place.rank} lost touch with the others ({one_line(error, 200)}); what was saved is "
                "whole: start all of them again with --resume"
            ) from error
        raise
    finally:
        if joined and dist.is_initialized():
            dist.destroy_process_group()


def _join(place: World) -> None:
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    dist.init_process_group("nccl" if place.device.type == "cuda" else "gloo")


def _lost_touch(error: RuntimeError) -> bool:
    """Whether a collective failed, or processes did not meet; gloo has no class for it."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


def _place(device: str) -> World:
    said = launched((dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else None)
    set_threads(said.local_size)
    picked = pick_device(device, said.local_rank, said.size)
    if picked.type == "cuda" and not said.knows_local and torch.cuda.device_count() > 1:
        gpus = torch.cuda.device_count()
        raise U2AError(f"LOCAL_RANK is not set: which of the {gpus} GPUs here is this process's? {REMEDY}")
    return World(said.rank, said.size, said.local_rank, said.local_size, picked)


def alone(device: str) -> World:
    """This process's place where it shares nothing with others: no process group is made or needed.

    Raises:
        U2AError: the device is not there.
    """
    return replace(_place(device), rank=0, size=1)


def pick_device(device: str, local_rank: int = 0, size: int = 1) -> torch.device:
    """The device for a recipe's ``training.device``; ``auto`` takes CUDA, then Apple's MPS, then the CPU."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if cuda else "mps" if mps and size == 1 else "cpu"
    if device.startswith("cuda") and not cuda:
        raise U2AError(f"training.device: {device} is not available here; use --set training.device=cpu")
    if device == "mps" and not mps:
        raise U2AError("training.device: mps is not available here; use --set training.device=cpu")
    if size > 1 and (device == "mps" or device.startswith("cuda:")):
        raise U2AError(f"training.device: {device} is one device for {size} processes; use cuda or cpu")
    if device == "cuda":
        device = f"cuda:{local_rank if size > 1 else torch.cuda.current_device()}"
    if device.startswith("cuda:") and int(device[5:]) >= torch.cuda.device_count():
        who = f"{size} processes want a GPU each" if size > 1 else f"training.device: {device} is not there"
        raise U2AError(f"{who}; GPUs that are visible: {torch.cuda.device_count()}")
    return torch.device(device)


def set_threads(local_size: int) -> None:
    """Share this machine's cores among its processes (torchrun's own default is one thread each)."""
    if local_size == 1 and "OMP_NUM_THREADS" in os.environ:
        return  # the user's choice; under torchrun the variable is torchrun's
    torch.set_num_threads(max(1, cores() // local_size))


def default_workers(place: World) -> int:
    """Loader processes where the recipe names none: enough to feed a GPU; one beside a CPU's own compute."""
    mine = cores() // place.local_size
    return min(8, mine) if place.device.type == "cuda" else int(mine > 1)


def sum_over_processes(values: Tensor, place: World) -> Tensor:
    """The element-wise sum over all processes, in place; free for one process."""
    if place.size > 1:
        dist.all_reduce(values)
    return values


def share_buffers(module: nn.Module, place: World) -> None:
    """Give every process the first one's buffers, such as a batch norm's running mean.

    Each process sees other samples, so theirs drift apart; what is validated must be what is saved.
    """
    share_tensors(module.buffers(), place)


def share_tensors(tensors: Iterable[Tensor], place: World) -> None:
    """Overwrite every process's tensors with the first one's; all have as many, of the same sizes."""
    if place.size > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def gather_rows(rows: Tensor, place: World) -> Tensor:
    """All processes' rows on every process, rank after rank; lengths may differ, the other sizes may not."""
    if place.size == 1:
        return rows
    lengths = torch.zeros(place.size, dtype=torch.long, device=rows.device)
    lengths[place.rank] = len(rows)
    dist.all_reduce(lengths)
    padded = rows.new_zeros((int(lengths.max()), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(place.size)]
    dist.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, lengths.tolist(), strict=True)])


def gather_lists(mine: Sequence[T], place: World) -> list[T]:
    """All processes' values (pickled) on every process, rank after rank."""
    if place.size == 1:
        return list(mine)
    parts: list[Any] = [None] * place.size
    dist.all_gather_object(parts, list(mine))
    return [one for part in parts for one in part]


def fail_together(error: U2AError | None, place: World) -> None:
    """Raise on every process if any met an error, so that none waits for it in vain.

    Raises:
        U2AError: this process's error, or that another process has one.
    """
    failed = torch.tensor(int(error is not None), device=place.device)
    if sum_over_processes(failed, place).item():
        raise error or U2AError("another process met bad data; its message says which")
