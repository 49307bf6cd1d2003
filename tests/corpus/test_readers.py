"""Readers: folders and tables as people have them, each read right or told truly."""

import os
from pathlib import Path

import numpy as np
import pytest

from malsori.audio.io import audio_info, load_audio, read_sound, save_audio
from malsori.corpus.layouts import Listing, read_layout
from malsori.errors import CorpusError, SoundWarning
from malsori.readers.columns import is_reading

from .conftest import SENTENCES, buzz, write_text


def sound(path: Path) -> None:
    """Write a file that readers take for a sound by its name; none of them opens it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")


def table(root: Path, name: str, lines: list[str], ids: int = 6, ending: str = ".wav", encoding: str = "utf-8") -> Path:
    """Write a table, with sounds a0, a1, ... in wavs/."""
    for number in range(ids):
        sound(root / "wavs" / f"a{number}{ending}")
    write_text(root / name, "\n".join(lines) + "\n", encoding)
    return root


def said(listing: Listing) -> list[tuple[str, str, str]]:
    return [(item.id, item.speaker, item.spoken) for item in listing.utterances]


@pytest.mark.parametrize(
    ("name", "line", "columns"),
    [
        ("metadata.csv", "{id}|{text}", "1 path, 2 text"),
        ("metadata.csv", "{id}|{speaker}|{text}", "1 path, 2 speaker, 3 text"),
        ("metadata.csv", "{id}|{text}|{speaker}", "1 path, 2 text, 3 speaker"),
        ("esd.list", "D:\\data\\wavs\\{id}.wav|{speaker}|KO|{text}", "1 path, 2 speaker, 3 not used ('KO'), 4 text"),
        ("filelists/all.txt", "DUMMY1/{id}.wav|{number}|{text}", "1 path, 2 speaker, 3 text"),
        ("list.tsv", "{text}\twavs/{id}.wav", "1 text, 2 path"),
        ("metadata.csv", 'wavs/{id}.wav,"{text}",{speaker}', "1 path, 2 text, 3 speaker"),
        ("transcripts.txt", "/home/me/data/wavs/{id}.wav {text}", "1 path, 2 text"),
        ("metadata.csv", "{id}|{id}|{text}", "1 path, 2 not used ('a0'), 3 text"),
        ("metadata.csv", "{id}|{text}|{text}|{text}|{speaker}", "3 spoken, 4 not used (the text again), 5 speaker"),
        ("metadata.csv", "{id}|{text}|기쁨", "1 path, 2 text, 3 not used ('기쁨')"),
        ("metadata.csv", "{id}|{text}|1.25|{speaker}", "1 path, 2 text, 3 not used ('1.25'), 4 speaker"),
    ],
)
def test_columns_are_taken_by_what_they_hold_and_said(tmp_path: Path, name: str, line: str, columns: str) -> None:
    lines = [
        line.format(id=f"a{number}", text=SENTENCES[number], speaker=("지수 A", "kim")[number % 2], number=number % 2)
        for number in range(6)
    ]
    found = read_layout(table(tmp_path / "voice", name, lines))
    assert found.layout == "table" and not found.refused and found.notes[0].endswith(columns)
    assert [item.spoken for item in found.utterances] == list(SENTENCES[:6])
    speakers = {item.speaker for item in found.utterances}
    assert len(speakers) == (2 if "speaker" in columns else 1)


@pytest.mark.parametrize(
    ("name", "header", "row"),
    [
        ("metadata.csv", "path,text,speaker", 'wavs/{id}.wav,"{text}, 네",kim'),
        ("metadata.csv", "file_name,transcription,speaker_id", 'wavs/{id}.wav,"{text}, 네",kim'),
        ("metadata.csv", "audio_file|text|speaker_name", "wavs/{id}.wav|{text}, 네|kim"),
        ("all.tsv", "client_id\tpath\tsentence_id\tsentence\tup_votes", "kim\t{id}.mp3\tx\t{text}, 네\t2"),
        ("data.csv", "번호,파일명,문장,화자", '1,{id},"{text}, 네",kim'),
    ],
)
def test_headers_name_the_columns(tmp_path: Path, name: str, header: str, row: str) -> None:
    lines = [header, *(row.format(id=f"a{number}", text=SENTENCES[number]) for number in range(3))]
    found = read_layout(table(tmp_path / "voice", name, lines, 3))
    assert said(found) == [(f"a{number}", "kim", f"{SENTENCES[number]}, 네") for number in range(3)]
    assert not found.refused and "a header" in found.notes[0]


def test_a_third_column_is_spoken_only_if_it_reads_the_second(tmp_path: Path) -> None:
    lines = ["a0|3월 1일이다|삼월 일일이다", "a1|64%는|육십사 퍼센트는", "a2|안녕|안녕"]
    found = read_layout(table(tmp_path / "right", "metadata.csv", lines))
    assert [item.spoken for item in found.utterances] == ["삼월 일일이다", "육십사 퍼센트는", "안녕"]
    lines = [f"a{number}|{SENTENCES[number]}|{'Good morning to you.' * 3}" for number in range(3)]
    found = read_layout(table(tmp_path / "other", "metadata.csv", lines))
    assert [item.spoken for item in found.utterances] == list(SENTENCES[:3])
    assert "3 not used ('Good morning to you.…': no reading of the text)" in found.notes[0]


def test_two_texts_that_read_each_other_not_ask_which(tmp_path: Path) -> None:
    lines = [f"a{number}|{SENTENCES[number]}|{SENTENCES[number + 5]}" for number in range(5)]
    root = table(tmp_path / "voice", "metadata.csv", lines)
    with pytest.raises(
        CorpusError, match=r"column 2 .* and column 3 .* say which with --columns path,.*first lines: a0"
    ):
        read_layout(root)
    assert [item.spoken for item in read_layout(root, columns="path,_,text").utterances] == list(SENTENCES[5:10])


def test_words_shorter_than_names_are_the_text(tmp_path: Path) -> None:
    lines = [f"a{number}|{word}|{('김철수', '이영희')[number % 2]}" for number, word in enumerate("네물집응")]
    found = read_layout(table(tmp_path / "voice", "metadata.csv", lines, 4))
    assert [(item.spoken, item.speaker) for item in found.utterances][:2] == [("네", "김철수"), ("물", "이영희")]


def test_common_voice_is_read_by_its_splits(tmp_path: Path) -> None:
    head, row = "client_id\tpath\tsentence\tlocale", "c{0}\tcommon_{0}.mp3\t{1}\tko"
    for number in range(4):
        sound(tmp_path / "clips" / f"common_{number}.mp3")
    rows = [row.format(number, SENTENCES[number]) for number in range(4)]
    for name, part in (
        ("train", rows[:2]),
        ("dev", rows[2:3]),
        ("test", rows[3:]),
        ("validated", rows),
        ("other", rows),
    ):
        write_text(tmp_path / f"{name}.tsv", "\n".join([head, *part]), "utf-8")
    write_text(tmp_path / "clip_durations.tsv", "clip\tduration[ms]\ncommon_0.mp3\t3000\n", "utf-8")
    found = read_layout(tmp_path)
    assert [(item.speaker, item.split) for item in found.utterances] == [
        ("c0", "train"),
        ("c1", "train"),
        ("c2", "dev"),
        ("c3", "test"),
    ]
    assert not found.refused and any("not read: " in note and "clip_durations" in note for note in found.notes)
    assert any("validated.tsv" in note and "other.tsv" in note for note in found.notes)


def test_zeroth_names_the_speaker_in_the_last_folder(tmp_path: Path) -> None:
    folder = tmp_path / "train_data_01" / "003" / "106"
    sound(folder / "106_003_0000.flac")
    write_text(folder / "106_003.trans.txt", "106_003_0000 안녕하세요", "utf-8")
    assert said(read_layout(tmp_path)) == [("106_003_0000", "106", "안녕하세요")]


def test_a_column_of_names_is_no_text(tmp_path: Path) -> None:
    root = table(tmp_path / "voice", "metadata.csv", [f"a{number}|spk{number % 2}" for number in range(6)])
    with pytest.raises(CorpusError, match=r"no column holds a text .* --columns"):
        read_layout(root)


@pytest.mark.parametrize(
    ("given", "why"), [("path,voice", "'voice' is no role"), ("path,path,text", "twice"), ("path,_", "are needed")]
)
def test_columns_that_cannot_be_are_refused(tmp_path: Path, given: str, why: str) -> None:
    with pytest.raises(CorpusError, match=why):
        read_layout(table(tmp_path, "metadata.csv", ["a0|안녕"]), columns=given)


def test_lines_of_another_kind_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = ["a0|안녕하세요|안녕하세요.", "a1|네", "a2", "a3|아니요", "a4|집|강", "a9|물", "a5|첫 줄\u2028둘째\u0085줄"]
    found = read_layout(table(tmp_path / "voice", "metadata.csv", lines))
    assert [item.spoken for item in found.utterances] == ["안녕하세요.", "네", "아니요", "첫 줄 둘째 줄"]
    assert {(item.id, item.reason) for item in found.refused} == {
        ("metadata.csv:3", "not a table line"),
        ("metadata.csv:5", "not a table line"),
        ("a9", "no recording"),
    }


def test_sounds_that_no_row_names_are_counted(tmp_path: Path) -> None:
    root = table(tmp_path, "metadata.csv", [f"a{number}|{SENTENCES[number]}" for number in range(4)])
    assert read_layout(root).notes[1:] == ("2 sound files without a text, not used: a4.wav, ...",)
    (root / "wavs" / "a5.wav").unlink()
    assert read_layout(root).notes[1:] == ("1 sound file without a text, not used: a4.wav",)


def test_bars_and_commas_inside_a_text_are_text(tmp_path: Path) -> None:
    found = read_layout(table(tmp_path / "bars", "metadata.csv", ["a0|안녕하세요 | 그리고 | 네", "a1|좋아요 | 정말"]))
    assert [item.spoken for item in found.utterances] == ["안녕하세요 | 그리고 | 네", "좋아요 | 정말"]
    found = read_layout(table(tmp_path / "commas", "metadata.csv", ["path,text", "a0.wav,네, 그래요", "a1.wav,좋아요"]))
    assert [item.spoken for item in found.utterances] == ["네, 그래요", "좋아요"]
    lines = ["path,text", 'a0.wav,"그는 ""네""라고\n했다"', 'a1.wav,좋"아요', 'a2.wav,"끝이 없다', "a3.wav,물"]
    found = read_layout(table(tmp_path / "quotes", "metadata.csv", lines))
    assert "물" in [item.spoken for item in found.utterances] and "quotes do not pair" in found.notes[0]


def test_splits_are_those_of_the_tables(tmp_path: Path) -> None:
    root = tmp_path / "voice"
    for number, name in enumerate(("ko_train_filelist.txt", "ko_val_filelist.txt")):
        table(
            root, f"filelists/{name}", [f"wavs/a{2 * number}.wav|{SENTENCES[number]}", f"wavs/a{2 * number + 1}.wav|네"]
        )
    found = read_layout(root)
    assert [item.split for item in found.utterances] == ["train", "train", "dev", "dev"]
    assert {item.speaker for item in found.utterances} == {"voice"}
    write_text(root / "esd.list", f"wavs/a0.wav|{SENTENCES[0]}\nwavs/a1.wav|다른 글\nwavs/a4.wav|새 글\n")
    found = read_layout(root)
    assert len(found.utterances) == 5 and [item.reason for item in found.refused] == ["two texts for one recording"]
    assert any("1 lines name a recording again" in note for note in found.notes)


def test_json_by_lines_and_lists_is_a_table(tmp_path: Path) -> None:
    line = '{{"audio_filepath": "/x/wavs/a{0}.wav", "duration": 1.2, "text": "{1}", "meta": {{"speaker": "kim"}}}}'
    lines = [line.format(number, SENTENCES[number]) for number in range(3)]
    found = read_layout(table(tmp_path / "nemo", "manifest.jsonl", [*lines, "{torn"]))
    assert said(found) == [(f"a{number}", "kim", SENTENCES[number]) for number in range(3)]
    assert [item.id for item in found.refused] == ["manifest.jsonl:4"] and "not used: duration" in found.notes[0]
    for path, text in (("file_name", "transcription"), ("path", "sentence"), ("audio", "text")):  # audiofolder and kin
        lines = [f'{{"{path}": "wavs/a{n}.wav", "{text}": "{SENTENCES[n]}"}}' for n in range(3)]
        found = read_layout(table(tmp_path / path, "metadata.jsonl", lines))
        assert [item.spoken for item in found.utterances] == list(SENTENCES[:3]) and not found.refused
    entries = ",".join(f'{{"wav": "a{n}.wav", "text": "{SENTENCES[n]}", "speaker_id": "{n % 2}"}}' for n in range(3))
    found = read_layout(table(tmp_path / "clova", "train.json", [f"[{entries}]"]))
    assert said(found) == [(f"a{n}", str(n % 2), SENTENCES[n]) for n in range(3)] and not found.refused


def test_a_json_file_for_each_recording_is_read(tmp_path: Path) -> None:
    for name, written, spoken in (("a0", "64%는", "육십사 퍼센트는"), ("a1", "안녕", "전혀 다른 말이에요")):
        sound(tmp_path / "source" / f"{name}.wav")
        text = f'{{"전사정보": {{"OrgLabelText": "{written}", "TransLabelText": "{spoken}"}}'
        text += f', "파일정보": {{"FileName": "{name}.wav"}}, "화자정보": {{"SpeakerName": "김"}}}}'
        write_text(tmp_path / "label" / f"{name}.json", text)
    write_text(tmp_path / "label" / "a2.json", '{"text": "물"}')
    found = read_layout(tmp_path)
    assert found.layout == "json" and said(found) == [("a0", "김", "육십사 퍼센트는"), ("a1", "김", "안녕")]
    assert [(item.id, item.reason) for item in found.refused] == [("a2", "no recording")]


def test_kaldi_folders_are_read(tmp_path: Path) -> None:
    for number in range(4):
        sound(tmp_path / "wav" / f"a{number}.flac")
    write_text(
        tmp_path / "wav.scp", "u0 wav/a0.flac\nu1 flac -c -d -s /x/wav/a1.flac |\nu2 wav/none.wav\nr3 a3.flac", "utf-8"
    )
    write_text(tmp_path / "text", "u0 안녕 하세요\nu1 네\nu2 물\nu9 집\nu3 강", "utf-8")
    write_text(tmp_path / "utt2spk", "u0 kim\nu1 lee\n", "utf-8")
    write_text(tmp_path / "segments", "u3 r3 0.0 1.0\n", "utf-8")
    found = read_layout(tmp_path)
    assert found.layout == "kaldi" and said(found) == [("u0", "kim", "안녕 하세요"), ("u1", "lee", "네")]
    assert {item.id: item.reason for item in found.refused} == {
        "u2": "no recording",
        "u9": "no recording",
        "u3": "a part of a recording",
    }


def test_ksponspeech_lists_are_read_without_their_marks(tmp_path: Path) -> None:
    for number in range(2):
        sound(tmp_path / "KsponSpeech_01" / f"K_{number}.wav")
    lines = [
        "KsponSpeech_01/K_0.pcm :: b/ 아/ (3월)/(삼 월)에+ 봐*. n/",
        "KsponSpeech_01/K_1.pcm :: 네",
        "K_2.pcm :: 물",
        "K_3",
    ]
    write_text(tmp_path / "scripts" / "train.trn", "\n".join(lines), "utf-8")
    found = read_layout(tmp_path)
    assert [(item.written, item.spoken) for item in found.utterances] == [
        ("아 3월에 봐.", "아 삼 월에 봐."),
        ("네", "네"),
    ]
    assert [(item.id, item.reason) for item in found.refused] == [
        ("K_2", "no recording"),
        ("train.trn:4", "not a table line"),
    ]


def test_sound_without_a_header_is_read_as_korean_corpora_have_it(tmp_path: Path) -> None:
    wave = (buzz(0.5) * 32768).astype("<i2")
    (tmp_path / "a0.pcm").write_bytes(wave.tobytes())
    write_text(tmp_path / "dev.trn", "a0.pcm :: 네", "utf-8")
    (found,) = read_layout(tmp_path).utterances
    read = read_sound(found.audio_path)
    with pytest.warns(SoundWarning, match="no header: read as 16000 Hz"):
        load_audio(found.audio_path)
    assert read.sample_rate == 16000 and not read.missing and audio_info(found.audio_path).seconds == 0.5
    np.testing.assert_array_equal(read.wave * 32768, wave)
    (tmp_path / "a0.pcm").write_bytes(wave.tobytes()[:-1])
    assert read_sound(found.audio_path).missing == "ends in half a sample"
    save_audio(tmp_path / "a1.wav", buzz(0.5), 16000)
    os.rename(tmp_path / "a1.wav", tmp_path / "a0.pcm")  # a header says more than the ending
    assert audio_info(found.audio_path).samples == 8000


def test_a_text_beside_each_recording_is_read(tmp_path: Path) -> None:
    for number in range(3):
        sound(tmp_path / "me" / f"말 {number}.M4A")
        write_text(tmp_path / "me" / f"말 {number}.txt", SENTENCES[number])
    sound(tmp_path / "me" / "mute.wav")
    write_text(tmp_path / "me" / "unheard.txt", "네")
    found = read_layout(tmp_path / "me")
    assert found.layout == "flat" and said(found) == [(f"말 {n}", "me", SENTENCES[n]) for n in range(3)]
    assert {item.id: item.reason for item in found.refused} == {"mute": "no transcript", "unheard": "no recording"}


@pytest.mark.parametrize(
    ("sounds", "ending"), [("wav48_silence_trimmed", "_mic1.flac"), ("wav", ".wav"), ("wavs", ".wav")]
)
def test_folders_of_sounds_and_texts_by_speaker(tmp_path: Path, sounds: str, ending: str) -> None:
    for number, speaker in enumerate(("p225", "p226")):
        sound(tmp_path / sounds / speaker / f"{speaker}_001{ending}")
        write_text(tmp_path / "txt" / speaker / f"{speaker}_001.txt", SENTENCES[number])
    found = read_layout(tmp_path)
    assert found.layout == "folders" and not found.refused
    assert [(item.speaker, item.spoken) for item in found.utterances] == [
        ("p225", SENTENCES[0]),
        ("p226", SENTENCES[1]),
    ]


@pytest.mark.parametrize(
    "name", ["a0", "A0.WAV", "wavs\\a0.wav", "C:\\my\\wavs\\a0.wav", "./wavs/a0", "/x/y/wavs/a0.mp3"]
)
def test_a_table_may_name_a_sound_in_any_way(tmp_path: Path, name: str) -> None:
    (found,) = read_layout(table(tmp_path / "voice", "metadata.csv", [f"{name}|안녕하세요."], 1, ".WAV")).utterances
    assert found.audio_path == tmp_path / "voice" / "wavs" / "a0.WAV"


def test_names_are_found_in_either_normal_form_and_with_any_signs(tmp_path: Path) -> None:
    decomposed, long = "한글", "가" * 80
    for name in (decomposed, "2026-11-29T10:30", long):
        sound(tmp_path / "wavs" / f"{name}.wav")
    lines = ["한글|안녕하세요.", "2026-11-29T10:30|좋아요.", f"{long}|물", f"{'x' * 300}|불", "\0|흙"]
    found = read_layout(table(tmp_path, "metadata.csv", lines, 0, encoding="utf-8-sig"))
    assert {item.id for item in found.utterances} == {"한글", "2026-11-29T10:30", long}
    assert {item.reason for item in found.refused} == {"no recording"} and len(found.refused) == 2


@pytest.mark.skipif(os.name != "posix", reason="names are bytes")
def test_names_in_cp949_as_korean_archives_have_them_are_read(tmp_path: Path) -> None:
    for number, name in enumerate(("녹음1".encode("cp949"), b"\xff2")):
        path = tmp_path / "voice" / os.fsdecode(name)
        sound(path.with_suffix(".wav"))
        write_text(path.with_suffix(".txt"), SENTENCES[number])
    found = read_layout(tmp_path / "voice")
    assert {item.id for item in found.utterances} == {"녹음1", "\\xff2"} and not found.refused
    table(tmp_path / "listed", "metadata.csv", ["녹음|" + SENTENCES[0], "a0|" + SENTENCES[1], "a1|" + SENTENCES[2]], 2)
    sound(tmp_path / "listed" / "wavs" / os.fsdecode("녹음.wav".encode("cp949")))
    assert {item.id for item in read_layout(tmp_path / "listed").utterances} == {"녹음", "a0", "a1"}


def test_a_name_that_two_folders_have_is_told(tmp_path: Path) -> None:
    for folder in ("x/1", "y/1", "x/2"):
        sound(tmp_path / "data" / folder / "a.wav")
    found = read_layout(table(tmp_path, "metadata.csv", ["1/a.wav|네", "x/1/a.wav|물", "2/a.wav|집"], 0))
    assert [item.spoken for item in found.utterances] == ["물", "집"]
    assert [item.reason for item in found.refused] == ["several recordings of that name"]


def test_links_in_a_circle_pipes_and_broken_links_end_nothing(tmp_path: Path) -> None:
    root = table(tmp_path / "voice", "metadata.csv", ["a0|안녕하세요.", "a1|좋아요.", "pipe|물"], 2)
    os.symlink(root, root / "wavs" / "again")
    os.symlink("self.wav", root / "wavs" / "self.wav")
    os.mkfifo(root / "wavs" / "pipe.wav")
    os.mkfifo(root / "transcript.txt")
    sound(root / "out" / "wave" / "a0.wav")
    write_text(root / "out" / "corpus.json", "{}")
    found = read_layout(root)
    assert [item.id for item in found.utterances] == ["a0", "a1"]
    assert {(item.id, item.reason) for item in found.refused} >= {
        ("self", "not an ordinary file"),
        ("pipe", "no recording"),
    }


def test_tables_of_other_encodings(tmp_path: Path) -> None:
    found = read_layout(table(tmp_path / "excel", "metadata.tsv", ["path\ttext", "a0\t안녕하세요."], encoding="utf-16"))
    assert [item.spoken for item in found.utterances] == ["안녕하세요."]
    root = table(tmp_path / "old", "metadata.csv", ["a0|안녕하세요."], encoding="cp949")
    assert [item.reason for item in read_layout(root).refused] == ["text is not UTF-8"]
    root = table(tmp_path / "dos", "metadata.csv", ["a0|안녕하세요.\r", "a1|좋아요.\r"], encoding="utf-8-sig")
    assert [item.spoken for item in read_layout(root).utterances] == ["안녕하세요.", "좋아요."]


def test_an_unknown_folder_shows_what_is_there_and_the_option_that_reads_it(tmp_path: Path) -> None:
    sound(tmp_path / "a0.wav")
    with pytest.raises(CorpusError, match=r"1 sound files, such as a0\.wav, and no texts: write a\.txt beside"):
        read_layout(tmp_path)
    write_text(tmp_path / "words.dat", "x0;안녕하세요\n")
    with pytest.raises(CorpusError, match=r"words\.dat begins 'x0;안녕하세요': if it is a table, --columns path,text"):
        read_layout(tmp_path)


@pytest.mark.parametrize(
    ("written", "spoken", "expected"),
    [
        ("64.5%", "육십사쩜 오 퍼센트", True),
        ("KBS 뉴스", "케이비에스 뉴스", True),
        ("안녕하세요.", "지수", False),
        ("괜찮을 거예요.", "대리출석은 허용하지 않습니다.", False),
        ("네", "", False),
    ],
)
def test_what_is_a_reading(written: str, spoken: str, expected: bool) -> None:
    assert is_reading(written, spoken) is expected
