"""Opening media containers from bytes, for any plugin, without letting them reach other files.

FFmpeg also knows formats that are lists of further addresses (playlists, concatenations). Only
self-contained formats are allowed here, and every decoder runs in one thread: data workers are processes
already, and threads of a forked decoder can hang.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from u2a.errors import BadSample, NoContent

if TYPE_CHECKING:
    from av.container import InputContainer

#: FFmpeg's names of the self-contained formats that are read.
FORMATS = "mov,mp4,m4a,3gp,matroska,webm,avi,gif,mpegts,flv,asf,mp3,aac,ogg,flac,wav,aiff,caf"


@contextmanager
def open_container(member: bytes, kind: Literal["audio", "video"]) -> Iterator[InputContainer]:
    """A container whose first ``kind`` stream exists and decodes in one thread.

    Raises:
        NoContent: it has no such stream.
        BadSample: empty, not a supported container, or damaged (also while the caller decodes inside the
            ``with``).
    """
    import av

    if not member:
        raise BadSample("empty file")
    try:
        with av.open(io.BytesIO(member), "r", options={"format_whitelist": FORMATS}) as container:
            streams = container.streams.audio if kind == "audio" else container.streams.video
            if not streams:
                raise NoContent(f"the file has no {kind} stream")
            streams[0].codec_context.thread_count = 1
            yield container
    except av.error.EOFError:
        raise BadSample(f"the file has no {kind} frames, or is cut off before them") from None
    except av.error.FFmpegError as error:
        raise BadSample(f"cannot be decoded as {kind}: {error.strerror}") from None
