"""Folders that were read wrongly once, as they were handed in: each prepared right, or told truly."""

import shutil
from pathlib import Path

import pytest

from malsori.corpus.layouts import read_layout

FIRST = "원래 가족이 더 힘든 법이에요. 힘내세요."

#: Folder → its layout, how many utterances, who speaks them, the first id and its text.
RIGHT = {
    "bertvits-4col": ("table", 4, {"kih"}, "kih00001", FIRST),
    "f5-header": ("table", 4, {"f5-header"}, "kih00001", FIRST),
    "nfd": ("table", 6, {"nfd"}, "kih00001", FIRST),
    "one": ("table", 1, {"one"}, "kih00001", FIRST),
    "pipe-in-text": ("table", 4, {"pipe-in-text"}, "kih00001", FIRST + " | 그리고"),
    "piper-multi": ("table", 4, {"a", "b"}, "kih00001", FIRST),
    "speaker-third": ("table", 4, {"kih", "지수 A"}, "kih00001", FIRST),
    "u2028": ("table", 1, {"u2028"}, "kih00001", "첫 줄 둘째 줄"),
    "upper": ("table", 3, {"upper"}, "kih00001", FIRST),
    "words": ("table", 8, {"words"}, "kih00001", FIRST),
    "same-name/a/recordings": ("table", 6, {"recordings"}, "kih00001", FIRST),
    "same-name/b/recordings": ("table", 8, {"recordings"}, "kih00001", FIRST),
}

#: Tables whose sounds were not handed in: what is in the folder, and how it is read.
TABLES = {
    "bertvits": "'|' between columns: 1 path, 2 speaker, 3 not used ('KO'), 4 text",
    "csv_path_text": "a header, commas between columns: path as path, text as text",
    "f5": "a header, '|' between columns: audio_file as path, text as text",
    "filelist_vits": "'|' between columns: 1 path, 2 speaker, 3 text",
    "fullpath_space": "the first space between columns: 1 path, 2 text",
    "nemo": "JSON: audio_filepath as path, text as text; not used: duration",
    "tsv_header": "a header, tabs between columns: file as path, text as text, speaker as speaker",
    "zeroth_trans": "Kaldi's wav.scp and text, utt2spk",
    "cv_validated.tsv": "client_id as speaker, path as path, sentence as text; not used: sentence_id",
    "aihub_kih00001.json": "",
}


@pytest.mark.data
@pytest.mark.parametrize("name", RIGHT)
def test_a_folder_that_was_handed_in_is_read(name: str, data_folder: Path) -> None:
    found = read_layout(data_folder.parent / "cases" / "corpora" / name)
    layout, count, speakers, first, text = RIGHT[name]
    assert (found.layout, len(found.utterances)) == (layout, count), (found.refused[:3], found.notes)
    assert {item.speaker for item in found.utterances} == speakers
    assert (found.utterances[0].id, found.utterances[0].spoken) == (first, text)
    lacking = ["kih00004", "kih00005", "kih00007"] if name == "upper" else []  # their sounds were not handed in
    assert [(item.id, item.reason) for item in found.refused] == [(each, "no recording") for each in lacking]


@pytest.mark.data
@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_was_handed_in_without_its_sounds_is_understood_and_told(
    name: str, data_folder: Path, tmp_path: Path
) -> None:
    place = data_folder.parent / "cases" / "corpora" / "tables" / name
    if place.is_file():
        shutil.copy(place, tmp_path / place.name.removeprefix("cv_"))
        place = tmp_path
    found = read_layout(place)
    assert {item.reason for item in found.refused} == {"no recording"} and not found.utterances
    assert TABLES[name] in " ".join(found.notes)
