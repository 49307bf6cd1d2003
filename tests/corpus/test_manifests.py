"""Manifests of other programs: Parquet of Hugging Face data sets, lhotse's JSON lines."""

import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from malsori.audio.io import audio_info, read_sound, save_audio
from malsori.corpus.ground_truth import PrepareOptions, audio_at, prepare
from malsori.corpus.layouts import read_layout
from malsori.errors import AudioError, CorpusError, MissingExtraError

from .conftest import SENTENCES, spoken, write_text

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def flac(seed: int) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, spoken(seed), 16000, format="FLAC")
    return content.getvalue()


def write_parquet(path: Path, sounds: list, rows: int = 2, **columns: list) -> Path:
    """Write a data set's file as the hub has it: an audio column of bytes and path, the others beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"audio": pyarrow.array(sounds, kind)} | columns)
    parquet.write_table(table, path, row_group_size=rows)
    return path.parent


def test_parquet_with_the_sounds_inside_is_prepared(tmp_path: Path) -> None:
    sounds = [{"bytes": flac(seed), "path": name} for seed, name in enumerate(("나.flac", "a/가.flac", None, "d.flac"))]
    sounds[3]["bytes"] = b"RIFF"
    root = write_parquet(
        tmp_path / "set" / "data" / "train-00000-of-00001.parquet", sounds,
        id=[3, 2, 1, 0], text=list(SENTENCES[:4]), speaker_id=["kim", "lee", "kim", "lee"], other=[[1], [], [2], [3]],
    ).parent  # fmt: skip
    found = read_layout(root)
    assert found.layout == "parquet"
    assert [(item.id, item.speaker, item.spoken) for item in found.utterances] == [
        ("d", "lee", SENTENCES[3]),
        ("train-00000-of-00001-0000002", "kim", SENTENCES[2]),
        ("가", "lee", SENTENCES[1]),
        ("나", "kim", SENTENCES[0]),
    ]
    assert "Parquet: audio as path, text as text, speaker_id as speaker; not used: id" in found.notes[0]
    np.testing.assert_allclose(read_sound(found.utterances[3].audio_path).wave, spoken(0), atol=2**-14)
    assert audio_info(found.utterances[1].audio_path).samples == len(spoken(2))
    summary = prepare(root, tmp_path / "out", PrepareOptions(workers=1, audio=audio_at(16000)))
    assert summary.skipped.keys() == {"sound cannot be read"} and sum(summary.utterances.values()) == 3
    assert prepare(root, tmp_path / "out", PrepareOptions(workers=1, audio=audio_at(16000))).reused == 3


def test_parquet_that_names_files_beside_it_and_one_that_is_none(tmp_path: Path) -> None:
    save_audio(tmp_path / "set" / "wavs" / "a.wav", spoken(1), 16000)
    table = pyarrow.table({"file_name": ["wavs/a.wav", "wavs/b.wav"], "sentence": list(SENTENCES[:2])})
    parquet.write_table(table, tmp_path / "set" / "test.parquet")
    write_text(tmp_path / "set" / "torn.parquet", "PAR1")
    found = read_layout(tmp_path / "set")
    assert [(item.id, item.split) for item in found.utterances] == [("a", found.utterances[0].split)]
    assert {item.reason for item in found.refused} == {"no recording", "table cannot be read"}
    write_parquet(tmp_path / "bare" / "a.parquet", [{"bytes": flac(1), "path": "a.flac"}], length=[3])
    with pytest.raises(CorpusError, match=r"a.parquet: no column holds a text"):
        read_layout(tmp_path / "bare")


def test_rows_without_sound_and_files_without_the_extra_are_told(tmp_path: Path, monkeypatch) -> None:
    root = write_parquet(tmp_path / "set" / "a.parquet", [{"bytes": None, "path": "x.wav"}], sentence=["물"])
    path = read_layout(root).utterances[0].audio_path
    with pytest.raises(AudioError, match="its row holds no bytes"):
        read_sound(path)
    with pytest.raises(AudioError, match="its row holds no bytes"):
        read_sound(path.parent.parent / "0000009" / "x.wav")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"malsori\[parquet\]"):
        read_layout(root)


def as_lhotse(root: Path, cuts: bool, ending: str) -> Path:
    """Write lhotse's manifests by lhotse itself: three recordings, the last of which is spoken in part."""
    from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet

    recordings, said = [], []
    for number in range(3):
        path = root / "wav" / f"r{number}.wav"
        save_audio(path, spoken(number), 16000)
        recording = Recording.from_file(path, recording_id=f"r{number}")
        seconds = recording.duration if number < 2 else 0.5
        said.append(
            SupervisionSegment(f"s{number}", recording.id, 0.0, seconds, 0, SENTENCES[number], "ko", f"spk{number % 2}")
        )
        recordings.append(recording)
    if cuts:
        made = [
            MonoCut(f"c{number}", 0.0, recording.duration, 0, [said[number]], recording=recording)
            for number, recording in enumerate(recordings)
        ]
        CutSet.from_cuts(made).to_file(root / f"my_cuts_test{ending}")
    else:
        RecordingSet.from_recordings(recordings).to_file(root / f"my_recordings_test{ending}")
        SupervisionSet.from_segments(said).to_file(root / f"my_supervisions_test{ending}")
    return root


@pytest.mark.parametrize("cuts", [True, False])
@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_lhotse_manifests_are_read(tmp_path: Path, cuts: bool, ending: str) -> None:
    root = as_lhotse(tmp_path / "set", cuts, ending)
    found = read_layout(root.rename(tmp_path / "moved"))
    assert found.layout == "lhotse"
    assert [(item.id, item.speaker, item.spoken) for item in found.utterances] == [
        (f"s{number}", f"spk{number}", SENTENCES[number]) for number in range(2)
    ]
    assert [(item.id, item.reason) for item in found.refused] == [("s2", "a part of a recording")]
    assert "0.00 to 0.50 s" in found.refused[0].detail


def test_damaged_manifests_of_lhotse_are_told(tmp_path: Path) -> None:
    root = as_lhotse(tmp_path / "set", cuts=False, ending=".jsonl")
    supervisions = root / "my_supervisions_test.jsonl"
    lost = json.loads(supervisions.read_text().splitlines()[0]) | {"id": "lost", "recording_id": "r9"}
    content = supervisions.read_text() + json.dumps(lost) + "\n{"
    supervisions.unlink()
    (root / "my_supervisions_test.jsonl.gz").write_bytes(gzip.compress(content.encode())[:-4])
    found = read_layout(root)
    assert len(found.utterances) == 2
    assert {item.reason for item in found.refused} == {"a part of a recording", "no recording", "manifest is damaged"}
