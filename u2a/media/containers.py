"""Opening media containers from bytes, for any plugin, without letting them reach other files.

FFmpeg also knows formats that are lists of further addresses (playlists, concatenations). Only
self-contained formats are allowed here, and every decoder runs in one thread: data workers are processes
already, and threads of a forked decoder can hang.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from u2a.errors import BadSample, NoContent, one_line
from u2a.media.names import named_beside_media

if TYPE_CHECKING:
    from av.container import InputContainer

#: FFmpeg's names of the self-contained formats that are read.
FORMATS = "mov,mp4,m4a,3gp,matroska,webm,avi,gif,mpegts,flv,asf,mpeg,mp3,aac,ogg,flac,wav,aiff,caf,amr,au,w64"

_DEFAULT, _ATTACHED_PICTURE = 0x1, 0x400  # of FFmpeg's AV_DISPOSITION


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
        options = {"format_whitelist": FORMATS}
        # PyAV 19 reads tags that are not UTF-8 by itself; those before have to be told.
        tags: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
        with av.open(io.BytesIO(member), "r", options=options, **tags) as container:
            chosen_stream(container, kind).codec_context.thread_count = 1
            yield container
    except av.error.EOFError:
        raise BadSample(f"the file has no {kind} frames, or is cut off before them") from None
    except av.error.FFmpegError as error:
        raise BadSample(
            f"cannot be decoded as {kind}: {named_beside_media(member) or error.strerror}"
        ) from None
    # Of PyAV: frames that contradict each other, streams that appear in mid-file.
    except (ValueError, OverflowError, MemoryError, IndexError, RuntimeError) as error:
        reason = one_line(error, 200)
        raise BadSample(f"cannot be decoded as {kind}: {reason}") from None


def chosen_stream(container: InputContainer, kind: Literal["audio", "video"]) -> Any:
    """The stream of a kind that a player would play: decodable, no cover, the default, else the first.

    Raises:
        NoContent: there is none, or only a cover.
        BadSample: there is one, but no decoder for it.
    """
    streams: Any = container.streams.audio if kind == "audio" else container.streams.video
    found = [stream for stream in streams if not int(stream.disposition) & _ATTACHED_PICTURE]
    if not found:
        raise NoContent(f"the file has no {kind} stream" + (", only a cover" if streams else ""))
    known = [stream for stream in found if stream.codec_context is not None]
    if not known:
        raise BadSample(f"cannot be decoded as {kind}: no decoder for its stream is installed")
    return next((stream for stream in known if int(stream.disposition) & _DEFAULT), known[0])
