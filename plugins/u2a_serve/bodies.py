"""A request's body, within its limits, and the samples that it holds as multipart files or JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from u2a.common.values import once
from u2a_serve.gate import Place
from u2a_serve.limits import Limits
from u2a_serve.multipart import Part, parts_of
from u2a_serve.refusals import Fault, Refused, refused

if TYPE_CHECKING:
    from starlette.requests import Request

#: Seconds that a body may take to arrive.
BODY_SECONDS = 60.0
#: JSON of more values than that would take many times its size in memory. base64 counts as one.
MOST_VALUES = 500_000


@dataclass(frozen=True)
class Given:
    """One modality of a sample as it was sent.

    Attributes:
        value: bytes of a file, or what JSON gave.
        is_file: whether it came as a file (or base64 of one).
    """

    value: Any
    is_file: bool


async def read_body(request: Request, place: Place, most: int) -> bytes:
    """The whole body.

    Raises:
        Refused: it is too large, comes too slowly, is compressed, or the service is full.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise refused(415, "compressed bodies are not read; send it as it is")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_large(most)
    if length.isdecimal():
        place.body(int(length))
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise _too_large(most)
                place.body(max(len(body), int(length) if length.isdecimal() else 0))
    except TimeoutError:
        raise refused(
            408, f"the body did not arrive within {BODY_SECONDS:g} seconds", Connection="close"
        ) from None
    return bytes(body)


def _too_large(most: int) -> Refused:
    return refused(413, f"the body is larger than {most} bytes, which is the limit", Connection="close")


def parse(body: bytes, content_type: str, limits: Limits) -> list[dict[str, Given]]:
    """The samples of a body.

    Raises:
        Refused: it is neither JSON nor multipart, damaged, or not of the shape that the service reads.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _from_parts(parts_of(body, content_type), limits)
    if kind == "application/json":
        return _from_json(body, limits)
    raise refused(415, f"send application/json or multipart/form-data, not {kind[:100] or 'a body of no type'}")


def _from_parts(parts: list[Part], limits: Limits) -> list[dict[str, Given]]:
    """Parts are called by their modality, or ``0.image``, ``1.image`` where there are several samples."""
    numbered = [_numbered(part.name) for part in parts]
    if len({n is None for n, _ in numbered}) > 1:
        raise refused(422, "number all parts (0.image, 1.image), or none")
    count = 1 + max((n or 0 for n, _ in numbered), default=0)
    _check_count(count, limits)
    samples: list[dict[str, Given]] = [{} for _ in range(count)]
    for (n, name), part in zip(numbered, parts, strict=True):
        if part.is_blank:  # of a form, a field that was not filled in
            continue
        if name in samples[n or 0]:
            raise Refused(422, [Fault("is given twice", n or 0, name)])
        samples[n or 0][name] = Given(part.content, part.is_file)
    return samples


def _numbered(name: str) -> tuple[int | None, str]:
    number, dot, rest = name.partition(".")
    if dot and number.isascii() and number.isdecimal() and len(number) < 7:
        return int(number), rest
    return None, name


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.samples:
        raise refused(413, f"more than {limits.samples} samples in one request; send several")


def _from_json(body: bytes, limits: Limits) -> list[dict[str, Given]]:
    document = _loads(body)
    if not isinstance(document, dict) or document.keys() not in ({"sample"}, {"samples"}):
        raise refused(422, 'send {"sample": {MODALITY: VALUE, ...}} or {"samples": [{...}, ...]}')
    samples = document.get("samples", [document.get("sample")])
    if not isinstance(samples, list) or not samples:
        raise refused(422, "samples: must be a list of at least one sample")
    _check_count(len(samples), limits)
    if odd := [i for i, one in enumerate(samples) if not isinstance(one, dict)]:
        raise Refused(422, [Fault("must be an object of modalities", i) for i in odd])
    return [{name: Given(value, False) for name, value in one.items() if value is not None} for one in samples]


def _loads(body: bytes) -> Any:
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise refused(413, f"JSON of more than {MOST_VALUES} values; send files, or base64")
    try:
        return json.loads(body, object_pairs_hook=once, parse_constant=_no_number)
    except RecursionError:
        raise refused(400, "not JSON that can be read: nested too deeply") from None
    except ValueError as error:  # also of bytes that are no text, and of names that are given twice
        raise refused(400, f"not JSON that can be read: {str(error)[:200]}") from None


def _no_number(name: str) -> Callable[..., Any]:
    raise ValueError(f"{name} is no JSON; for a missing modality write null, or leave it out")
