"""The table of files that are read says what the plugins read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from u2a.plugins.loading import registry

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


TESTS = PAGE.parents[1] / "tests"
#: The table's words, each with the test that holds it.
HELD = {
    "the first frame or page": "media/test_pictures_and_texts.py::test_colours_of_every_kind",
    "turned and mirrored as EXIF says (XMP's word is not taken)": (
        "media/test_declared.py::test_every_orientation_in_every_container"
    ),
    "on white where it is transparent": "media/test_declared.py::test_greys_and_transparent_greys_of_a_png",
    "greys of any depth by the depth that the file declares, and white where it says white is zero": (
        "media/test_declared.py::test_greys_of_a_tiff"
    ),
    "TIFF's L*a*b* as sRGB": "media/test_declared.py::test_a_tiff_of_l_a_b_is_seen_in_its_colours",
    "a damaged profile, comment or EXIF block costs no pixel": (
        "media/test_declared.py::test_metadata_costs_no_pixels"
    ),
    "a JPEG that lacks only its end marker is whole": (
        "media/test_declared.py::test_a_jpeg_without_its_end_marker_is_whole"
    ),
    "cut off": "media/test_declared.py::test_a_jpeg_without_its_end_marker_is_whole",
    "over 89 million pixels": "plugins/test_plugin_image.py::test_unusable_files_say_why",
    "less than it declares": "media/test_declared.py::test_a_tiff_whose_strips_do_not_cover_it_is_refused",
    "greys as floats": "plugins/test_plugin_image.py::test_unusable_files_say_why",
    "the mean of the channels": "plugins/test_plugin_audio.py::test_channels_are_averaged",
    "another rate or other channels in mid-stream are brought to the first": (
        "media/test_sounds_as_they_are.py::test_channels_and_rate_that_change_in_mid_stream"
    ),
    "recordings joined in one Ogg file are read to the end": (
        "media/test_sounds_as_they_are.py::test_recordings_joined_in_one_ogg_file_are_read_to_the_end"
    ),
    "a WAV that does not know its size is read to its end, and one whose chunks are padded wrongly": (
        "media/test_sounds_as_they_are.py::test_chunks_of_a_wav_that_are_padded_wrongly"
    ),
    "less than 95 % of the seconds that are used can be decoded": (
        "media/test_sounds_as_they_are.py::test_a_cut_recording_is_used_if_95_percent_are_there"
    ),
    "infinite values": "media/test_declared.py::test_values_that_make_features_infinite_are_refused",
    "the default stream, no cover": "media/test_films_as_they_are.py::test_the_default_stream_is_the_film",
    "turned and mirrored as the file says": "media/test_declared.py::test_every_display_matrix",
    "square pixels": "media/test_films_as_they_are.py::test_oblong_pixels_are_made_square",
    "one frame of each equal part of the duration": (
        "media/test_films_as_they_are.py::test_equal_parts_are_parts_of_the_time"
    ),
    "a size that changes in mid-film": "media/test_films_as_they_are.py::test_a_size_that_changes_in_mid_film",
    "no decoder for its stream": (
        "media/test_films_as_they_are.py::test_a_stream_without_decoder_is_refused_in_a_line"
    ),
    "UTF-8, or UTF-16 or UTF-32 with its mark": (
        "media/test_pictures_and_texts.py::test_texts_of_every_editor"
    ),
    '"[SEP]" that somebody typed is text': "media/test_declared.py::test_typed_markup_is_text",
    "other encodings": ("media/test_pictures_and_texts.py::test_other_encodings_are_refused_with_what_to_do"),
}


def test_every_word_of_the_table_is_held_by_a_test():
    section = PAGE.read_text().split("### Files that are read")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")][1:]
    words = {word.strip() for row in rows for cell in row[2:] for word in cell.split(";")}
    assert words == set(HELD)
    for place in HELD.values():
        file, name = place.split("::")
        assert f"\ndef {name}(" in (TESTS / file).read_text(), place


def table() -> dict[str, set[str]]:
    section = PAGE.read_text().split("### Files that are read")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")]
    return {kind.strip(): set(" ".join(re.findall("`([^`]*)`", cell)).split()) for kind, cell in rows[1:]}


@pytest.mark.parametrize(
    ("modality", "kinds"),
    [("image", ["pictures"]), ("audio", ["sounds", "films"]), ("video", ["films"]), ("text", ["texts"])],
)
def test_the_table_of_files_is_what_the_plugins_read(modality, kinds):
    listed = set().union(*(table()[kind] for kind in kinds))
    silent = {"gif"} if modality == "audio" else set()  # films without sound
    assert listed - silent == set(registry().spec(modality).extensions)
