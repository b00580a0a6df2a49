"""What kind of file bytes are, by how they begin."""

from __future__ import annotations

from collections.abc import Sequence

_STARTS: tuple[tuple[int, bytes, tuple[str, ...]], ...] = (
    (0, b"\xff\xd8\xff", ("jpg", "jpeg")),
    (0, b"\x89PNG", ("png",)),
    (0, b"GIF8", ("gif",)),
    (0, b"BM", ("bmp",)),
    (8, b"WEBP", ("webp",)),
    (0, b"II*\0", ("tif", "tiff")),
    (0, b"MM\0*", ("tif", "tiff")),
    (4, b"ftypavif", ("avif",)),
    (4, b"ftyphei", ("heic", "heif")),
    (8, b"WAVE", ("wav",)),
    (0, b"fLaC", ("flac",)),
    (0, b"OggS", ("ogg", "oga", "opus")),
    (0, b"ID3", ("mp3",)),
    (0, b"\xff\xfb", ("mp3",)),
    (0, b"\xff\xf3", ("mp3",)),
    (4, b"ftypM4A", ("m4a", "mp4")),
    (4, b"ftypqt", ("mov", "mp4")),
    (4, b"ftyp", ("mp4", "m4v", "m4a", "mov", "3gp")),
    (0, b"\x1a\x45\xdf\xa3", ("mkv", "webm")),
    (8, b"AVI ", ("avi",)),
    (0, b"FLV", ("flv",)),
    (0, b"\x93NUMPY", ("npy",)),
    (0, b"\x1f\x8b", ("nii.gz", "gz")),
)


def type_of(data: bytes) -> str:
    """What bytes look like, as an extension; ``unknown`` if nothing tells."""
    for place, start, names in _STARTS:
        if data[place : place + len(start)] == start:
            return names[0]
    return "unknown"


def extension_of(data: bytes, extensions: Sequence[str]) -> str:
    """The extension, among those that a modality reads, of bytes without a name; its first if nothing tells."""
    return known_extension(data, extensions) or ("txt" if "txt" in extensions else extensions[0])


def known_extension(data: bytes, extensions: Sequence[str]) -> str | None:
    """The extension, of those given, that the first bytes of a file tell; None if they tell none of these."""
    for place, start, names in _STARTS:
        if data[place : place + len(start)] == start:
            for name in names:
                if name in extensions:
                    return name
    return None
