"""Films whose rate, pixels, streams or names are not the usual ones; right values are arithmetic."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import tiny

from u2a.errors import BadSample, NoContent
from u2a.media.containers import open_container
from u2a.media.probe import film_numbers
from u2a.media.sounds import decode_mono
from u2a_video.decode import decode_frames
from u2a_video.preprocess import choose_by_time, choose_frames


def film(
    frames: np.ndarray, times: list[int], *, form: str = "mp4", shape: Fraction = Fraction(1), **tags: str
) -> bytes:
    """Frames shown at these hundredths of a second, with pixels of this shape."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        container.metadata.update(tags)
        stream = container.add_stream("libx264", rate=100, options={"qp": "4"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = shape
        stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def greys(count: int) -> np.ndarray:
    levels = np.linspace(20, 220, count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, 32, 48, 3))


@pytest.mark.parametrize("form", ["mp4", "matroska"])
def test_equal_parts_are_parts_of_the_time(form):
    times = [*range(0, 100, 10), 100, 200, 300, 400, 500]  # 10 frames in the first of 6 seconds
    member = film(greys(15), times, form=form)
    seen = decode_frames(member, lambda found: choose_by_time(found, 3, None))
    levels = np.linspace(20, 220, 15)
    shown = [int(np.abs(levels - frame.mean()).argmin()) for frame in seen]
    total = 500 + 10
    expected = [max(n for n, t in enumerate(times) if t <= total * (k + 0.5) / 3) for k in range(3)]
    assert shown == expected
    assert shown != choose_frames(15, 3, None)


def test_the_last_frame_of_a_changing_rate_is_shown_as_long_as_half_of_them_at_least():
    """Shown from 0, 1, 2, 3, 13 and 23 on: steps of 1 and 10, of which 1 is the median; 24 in all."""
    times = [0, 1, 2, 3, 13, 23]
    middles = [24 * (k + 0.5) / 12 for k in range(12)]  # 1, 3, ... 23
    assert middles[-1] == 23
    assert choose_by_time(times, 12, None) == [max(n for n, t in enumerate(times) if t <= m) for m in middles]


@pytest.mark.parametrize("rate", [24, 29.97, 50])
@pytest.mark.parametrize("count", [1, 2, 9, 10, 301])
def test_a_steady_rate_in_rounded_times_is_counted(rate, count):
    times = [round(1000 * n / rate) for n in range(count)]
    assert choose_by_time(times, 3, None) == choose_frames(count, 3, None)


@pytest.mark.parametrize("form", ["mp4", "matroska", "mpegts"])
@pytest.mark.parametrize(("shape", "size"), [(Fraction(16, 11), (32, 70)), (Fraction(1, 2), (64, 48))])
def test_oblong_pixels_are_made_square(form, shape, size):
    seen = decode_frames(film(greys(3), [0, 10, 20], form=form, shape=shape), lambda times: [1])
    assert seen[0].shape[:2] == size


@pytest.mark.parametrize(
    ("shape", "size"), [(Fraction(8), (32, 384)), (Fraction(17, 2), (32, 48)), (Fraction(1, 20), (32, 48))]
)
def test_a_shape_of_pixels_that_no_camera_has_is_a_damaged_header(shape, size):
    seen = decode_frames(film(greys(3), [0, 10, 20], form="matroska", shape=shape), lambda times: [1])
    assert seen[0].shape[:2] == size


def test_a_cover_is_no_film():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        sound, cover = container.add_stream("aac", rate=16000, layout="mono"), container.add_stream("png")
        cover.height, cover.width, cover.pix_fmt = 32, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(tiny.tone(1.0)[None], "fltp", "mono")
        frame.sample_rate = 16000
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8), "rgb24")
        for stream, one in ((cover, picture), (sound, frame)):
            container.mux(stream.encode(one))
            container.mux(stream.encode(None))
    with pytest.raises(NoContent, match="no video stream, only a cover"):
        decode_frames(buffer.getvalue(), lambda times: [0])
    assert len(decode_mono(buffer.getvalue(), 10)[0]) >= 16000


def test_what_a_phone_has_cut_off_is_no_part_of_the_film():
    """It stays in the file, before the time at which the edit list begins."""
    member = bytearray(tiny.clip_bytes(tiny.numbered_frames(50), g="12"))
    at = member.index(b"elst") + 16
    begins = struct.unpack(">i", member[at : at + 4])[0]
    member[at : at + 4] = struct.pack(">i", begins + 10 * 1024)  # ten frames later
    counts: list[int] = []
    seen = decode_frames(bytes(member), lambda times: counts.append(len(times)) or [0, 1, 39])
    assert counts == [40]
    assert [round((frame.mean() - 20) / 4) for frame in seen] == [10, 11, 49]


def test_a_title_that_is_not_utf8_is_no_fault():
    member = film(greys(3), [0, 10, 20], title="Xyzzy").replace(b"Xyzzy", b"\xe9\xe8\xfc\xdf\xe4")
    assert len(decode_frames(member, lambda times: [0, 2])) == 2


def test_a_stream_without_decoder_is_refused_in_a_line():
    member = film(greys(3), [0, 10, 20]).replace(b"avc1", b"zzzz")
    with pytest.raises(BadSample, match="cannot be decoded as video") as caught:
        decode_frames(member, lambda times: [0])
    assert "\n" not in str(caught.value)


def spatial(tracks: int) -> bytes:
    """A phone's film: its first sound is of a codec that nobody decodes, any other is AAC of 880 Hz."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov") as container:
        video = container.add_stream("libx264", rate=10)
        video.height, video.width, video.pix_fmt = 32, 48, "yuv420p"
        sounds = [container.add_stream("aac", rate=16000, layout="mono") for _ in range(tracks)]
        for pixels in greys(3):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")))
        container.mux(video.encode(None))
        for sound in sounds:
            frame = av.AudioFrame.from_ndarray(tiny.tone(1.0, 16000, 880.0)[None], "fltp", "mono")
            frame.sample_rate = 16000
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    data = bytearray(buffer.getvalue())
    for name, other in ((b"mp4a", b"apac"), (b"esds", b"dapa")):
        at = data.index(name, data.index(b"soun"))
        data[at : at + 4] = other
    return bytes(data)


def test_sound_without_a_decoder_costs_neither_the_film_nor_another_track():
    alone, beside = spatial(1), spatial(2)
    assert [len(decode_frames(member, lambda times: [0, 2])) for member in (alone, beside)] == [2, 2]
    assert "sound (Hz)" not in film_numbers(alone)
    assert film_numbers(beside)["sound (Hz)"] == 16000
    with pytest.raises(BadSample, match="no decoder for its stream is installed"):
        decode_mono(alone, 10)
    wave, rate = decode_mono(beside, 10)
    assert np.argmax(np.abs(np.fft.rfft(wave[:rate]))) == 880


def test_the_default_stream_is_the_film():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        streams = [container.add_stream("libx264", rate=10, options={"qp": "4"}) for _ in range(2)]
        streams[0].disposition, streams[1].disposition = av.stream.Disposition(0), av.stream.Disposition.default
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for stream, level, count in zip(streams, (40, 200), (1, 4), strict=True):
            for _ in range(count):
                pixels = np.full((32, 48, 3), level, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(stream.encode(None))
    counts: list[int] = []
    seen = decode_frames(buffer.getvalue(), lambda times: counts.append(len(times)) or [0])
    assert counts == [4]
    assert abs(seen[0].mean() - 200) < 6


def test_a_size_that_changes_in_mid_film():
    """Transport streams can be joined like texts; each frame keeps its own proportions."""
    square = np.zeros((3, 48, 48, 3), np.uint8)
    member = film(square, [0, 10, 20], form="mpegts") + film(
        np.zeros((3, 48, 96, 3), np.uint8), [30, 40, 50], form="mpegts"
    )
    with open_container(member, "video") as container:
        assert container.format.name == "mpegts"
    shapes = [frame.shape[:2] for frame in decode_frames(member, lambda times: range(len(times)))]
    assert shapes[0] == (48, 48)
    assert set(shapes) <= {(48, 48), (48, 96)}


@pytest.mark.parametrize("form", ["mpegts", "3gp", "asf", "flv", "avi", "mpeg", "vob"])
def test_containers_by_content_not_by_name(form):
    codecs = {"asf": "mpeg4", "avi": "mpeg4", "mpeg": "mpeg1video", "vob": "mpeg2video"}
    member = tiny.clip_bytes(greys(8), format=form, codec=codecs.get(form, "libx264"), rate=25)
    assert len(decode_frames(member, lambda times: [0, len(times) - 1])) == 2


@pytest.mark.parametrize("kind", [IndexError, ValueError, RuntimeError, MemoryError])
def test_what_the_library_raises_in_mid_file_is_the_files_fault(kind):
    with (
        pytest.raises(BadSample, match="cannot be decoded as video"),
        open_container(film(greys(3), [0, 1, 2]), "video"),
    ):
        raise kind


@pytest.mark.parametrize("matrix", [1, 5], ids=["BT.709", "BT.601"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_the_matrix_and_the_range_that_a_film_declares_decide_its_colours(matrix, full):
    """Planes computed by hand from the standards' two weights."""
    colours = np.array([[200, 30, 60], [30, 160, 40], [20, 60, 220], [240, 200, 20]], float)
    red, blue = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}[matrix]
    luma = colours @ [red, 1 - red - blue, blue]
    chroma = [(colours[:, 2] - luma) / (2 - 2 * blue), (colours[:, 0] - luma) / (2 - 2 * red)]
    planes = (
        [luma, *(128 + c for c in chroma)]
        if full
        else [16 + luma * 219 / 255, *(128 + c * 224 / 255 for c in chroma)]
    )
    frame = av.VideoFrame(64, 16, "yuv420p")
    for plane, values in zip(frame.planes, planes, strict=True):
        row = np.zeros(plane.line_size, np.uint8)
        row[: plane.width] = np.repeat(np.rint(values), plane.width // 4)
        plane.update(np.tile(row, plane.height).tobytes())
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"qp": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 16, "yuv420p"
        stream.codec_context.colorspace = frame.colorspace = matrix
        stream.codec_context.color_range = frame.color_range = 2 if full else 1
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (seen,) = decode_frames(buffer.getvalue(), lambda times: [0])
    assert np.abs(seen[8, [8, 24, 40, 56]].astype(float) - colours).max() <= 4
