"""Names of formats that are not read, so that a refusal can say what a file is."""

from __future__ import annotations

from u2a.media.grey import tiff_tags

_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "Canon CR3"}
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_STARTS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "a Photoshop file",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "XML (perhaps SVG)",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"\0\0\x01\0": "a Windows icon",
    b"DICM": "DICOM",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"ID3": "a sound (MP3)",
    b"fLaC": "a sound (FLAC)",
    b"OggS": "a sound or film (Ogg)",
    b"\x1aE\xdf\xa3": "a film (Matroska or WebM)",
    b"<!doctype html": "an HTML page (a failed download?)",
    b"<html": "an HTML page (a failed download?)",
    b"version https://git-lfs": "a pointer of git-lfs (git lfs pull gets the file)",
    b"{": "JSON (a failed download?)",
    b"data:": "a data address, not the bytes it stands for",
    b"/9j/": "base64 text of a JPEG, not its bytes",
    b"ivborw0kggo": "base64 text of a PNG, not its bytes",
    b"http://": "an address, not what is there",
    b"https://": "an address, not what is there",
    b"mthd": "MIDI notes",
    b"#extm3u": "a playlist",
}
_PICTURES = {b"\xff\xd8\xff": "a picture (JPEG)", b"\x89PNG": "a picture (PNG)", b"BM": "a picture (BMP)"}
_BITS, _FORMAT, _FLOAT = 258, 339, 3  # of TIFF


def named(data: bytes) -> str | None:
    """``"it is HEIC, which is not read here"`` of what is no picture, or None for bytes that nobody knows."""
    name = _name(data)
    return name and f"it is {name}, which is not read here"


def named_beside_media(data: bytes) -> str | None:
    """The same of what is neither sound nor film."""
    name = next((name for sign, name in _PICTURES.items() if data.startswith(sign)), None)
    name = "a picture (WebP)" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else name
    name = name or _name(data)
    return (
        f"it is {name}, which is not read here" if name and "sound" not in name and "film" not in name else None
    )


def _name(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(len(data), 64), 4))}
        for brand, name in _BRANDS.items():
            if brand in brands:
                return name
        return "HEIC" if brands & set(_HEIF) else "a film (MP4 or the like)"
    if data[:4] == b"RIFF":
        return {b"WAVE": "a sound (WAV)", b"AVI ": "a film (AVI)"}.get(data[8:12])
    if data[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF") and data[2:3].isspace():
        return "PNM"
    if data[128:132] == b"DICM":
        return "DICOM"
    if data[-18:].startswith(b"TRUEVISION-XFILE"):
        return "TGA"
    if tags := tiff_tags(data):
        bits, form, colours, packing = (tags.get(tag, (0, 1))[1] for tag in (_BITS, _FORMAT, 262, 259))
        floats = " as floats" if form == _FLOAT else ""
        return f"a TIFF of {bits} bits{floats} (photometric {colours}, compression {packing})"
    start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next(
        (name for sign, name in _STARTS.items() if data.startswith(sign) or start.startswith(sign)), None
    )
