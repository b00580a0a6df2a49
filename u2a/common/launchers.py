"""What a launcher says of this process in its environment; what it left out is refused by name, or not needed.

torchrun sets all of it. Kubernetes' operators set the place among all processes alone, and start one a pod.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from u2a.common.environment import whole
from u2a.errors import U2AError

#: Launchers that start many copies but do not say it in torch's variables: theirs, and what starts them.
FOREIGN = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun", "PMI_SIZE": "mpiexec"}
REMEDY = "start the processes with torchrun, which sets all of this"


@dataclass(frozen=True)
class Launched:
    """This process's place among all processes, and among those of its machine (0 of 1 where nobody says)."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    knows_local: bool


def launched(group: tuple[int, int] | None = None) -> Launched:
    """The environment's word on this process.

    Args:
        group: rank and size in a process group that is there already; it knows better.

    Raises:
        U2AError: the environment contradicts itself, says half of it, or holds no numbers.
    """
    rank, size = group or _among_all()
    local, local_size = _said("LOCAL_RANK"), _said("LOCAL_WORLD_SIZE", least=1)
    if local is not None and local >= (local_size or size):
        raise U2AError(f"LOCAL_RANK is {local} of {local_size or size} processes here; {REMEDY}")
    return Launched(rank, size, local or 0, local_size or (local or 0) + 1, local is not None or size == 1)


def _among_all() -> tuple[int, int]:
    rank, size = _said("RANK"), _said("WORLD_SIZE", least=1)
    if rank is None and size is not None and size > 1:
        raise U2AError(f"WORLD_SIZE is {size} but RANK is not set: which of these processes is this? {REMEDY}")
    if size is None and rank:
        raise U2AError(f"RANK is {rank} but WORLD_SIZE is not set: how many processes are there? {REMEDY}")
    rank, size = rank or 0, size or 1
    if rank >= size:
        raise U2AError(f"RANK is {rank} of WORLD_SIZE {size}: ranks go from 0 to {size - 1}; {REMEDY}")
    return rank, size


def check_meeting_place() -> None:
    """Refuse where many processes are not told where they meet.

    Raises:
        U2AError: MASTER_ADDR or MASTER_PORT is not set, or that is no port.
    """
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name, "").strip():
            raise U2AError(f"there are several processes, but {name} is not set: where do they meet? {REMEDY}")
    if (port := whole("MASTER_PORT", 0)) > 65535:
        raise U2AError(f"MASTER_PORT is {port}: ports go up to 65535; {REMEDY}")


def check_copies() -> None:
    """Refuse to be one of many copies that know nothing of each other and would write the same run.

    Raises:
        U2AError: names the launcher and what it set.
    """
    if os.environ.get("WORLD_SIZE", "").strip():
        return
    for name, starter in FOREIGN.items():
        if (copies := whole(name, 1)) > 1:
            raise U2AError(
                f"{starter} started {copies} copies of this ({name}), and none is told of the others: "
                f"let {starter} start torchrun once on each machine; or, to let each work alone, unset {name}"
            )


def _said(name: str, *, least: int = 0) -> int | None:
    return whole(name, least, least=least) if os.environ.get(name, "").strip() else None
