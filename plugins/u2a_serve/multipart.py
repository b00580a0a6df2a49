"""The parts of a ``multipart/form-data`` body that is in memory, whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from u2a_serve.refusals import refused

#: So many parts are read of one body.
MOST_PARTS = 2000


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: of its field.
        filename: None = a field of text.
        content: its bytes.
    """

    name: str
    filename: str | None
    content: bytes

    @property
    def is_file(self) -> bool:
        """Whether it came as a file."""
        return self.filename is not None

    @property
    def is_blank(self) -> bool:
        """Of a form, a field that was not filled in, or a file that was not chosen."""
        return not self.content and not self.filename


class _Collector:
    """What the parser calls back; offsets are into the body."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._begin()

    def _begin(self) -> None:
        self._field, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._content = bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == MOST_PARTS:
            raise refused(413, f"more than {MOST_PARTS} parts in one body")
        self._begin()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def on_part_end(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name, filename = options.get(b"name"), options.get(b"filename")
        if name is None:
            raise refused(400, "a part of the body has no name; curl -F image=@a.png gives one")
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in (
            b"binary",
            b"7bit",
            b"8bit",
        ):
            raise refused(400, f"{_text(name)}: send the file's own bytes, without a transfer encoding")
        self.parts.append(
            Part(_text(name), None if filename is None else _text(filename), bytes(self._content))
        )

    def on_end(self) -> None:
        self.ended = True


def parts_of(body: bytes, content_type: str) -> list[Part]:
    """All parts, in order.

    Raises:
        Refused: no boundary, damaged, cut off before its end, or too many parts.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    _, options = parse_options_header(content_type.encode("latin-1", "replace"))
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 256:
        raise refused(400, "the content type names no boundary; let the client library make the header")
    found = _Collector()
    callbacks = {name: getattr(found, name) for name in dir(found) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise refused(400, f"not multipart that can be read: {str(error)[:200]}") from None
    if not found.ended:  # a file that is cut off must not become a missing modality
        raise refused(400, "the multipart body ends before its last boundary: it was cut off")
    return found.parts


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
