"""What the benchmarks of a service share: it, a small client, and samples of a run's test split."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import u2a
from u2a.data.reading.opening import evaluation_split

SAMPLES = 64
BOUNDARY = "benchmark"


def samples_of(model: u2a.Model) -> list[dict[str, bytes]]:
    """The first samples of the test split, complete."""
    split, names = evaluation_split(model.recipe, "test"), list(model.network.names)
    return [split.members(i, names) for i in range(min(SAMPLES, len(split)))]


def form(sample: dict[str, bytes]) -> bytes:
    """A multipart body."""
    body = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n'.encode()
        + value
        + b"\r\n"
        for name, value in sample.items()
    )
    return body + f"--{BOUNDARY}--\r\n".encode()


class Served:
    """A service of a run in a process of its own."""

    def __init__(self, run: str, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = [str(Path(sys.executable).with_name("u2a")), "serve", run, "--port", str(self.port), *options]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        while True:
            assert self.process.poll() is None, "the service did not start"
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def cpu(self) -> float:
        """Seconds of processor time so far, with its readers'."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._family()]
        return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")

    def held(self) -> tuple[float, int]:
        """Memory in MB (what processes share is counted once), and open descriptors; with its readers'."""
        family = self._family()
        said = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in family]
        kilobytes = sum(int(re.search(r"^Pss: +(\d+)", one, re.MULTILINE)[1]) for one in said)  # type: ignore[index]
        return kilobytes / 1000, sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in family)

    def _family(self) -> list[int]:
        found = [self.process.pid]
        for pid in found:  # which grows meanwhile
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        return found


class Caller:
    """One connection that is kept open; small, so that it takes little of the machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, body: bytes, kind: str = f"multipart/form-data; boundary={BOUNDARY}"
    ) -> tuple[int, bytes]:
        """Status and answer."""
        if self._ends is None or self._ends[0].at_eof():  # idle for so long that the service hung up
            self._ends = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._ends
        head = (
            f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            writer.write(head.encode() + body)
            await writer.drain()
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
            answer = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.hang_up()
            raise
        if "connection: close" in lines:
            self.hang_up()
        return int(lines[0].split()[1]), answer

    async def send_and_hang_up(self, body: bytes) -> None:
        """Say more than is sent."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Content-Length: 99999\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    def hang_up(self) -> None:
        """Close."""
        if self._ends:
            self._ends[1].close()
        self._ends = None
