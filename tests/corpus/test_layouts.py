"""Layouts: three real ways to lay out recordings are read as they are, and what does not fit is named."""

from collections import Counter
from pathlib import Path

import pytest

from malsori.audio.io import save_audio
from malsori.corpus.layouts import detect_layout, read_layout, split_by_text
from malsori.errors import CorpusError
from malsori.readers.records import text_key

from .conftest import RATE, SENTENCES, buzz, write_text


def sound(path: Path) -> None:
    save_audio(path, buzz(0.3), RATE)


def reasons(root: Path, layout: str = "auto") -> dict[str, str]:
    return {item.id: item.reason for item in read_layout(root, layout).refused}


def test_emotiontts_reads_speaker_script_and_transcript_past_the_byte_order_mark(tmp_path: Path) -> None:
    sound(tmp_path / "Main" / "main" / "lmy" / "wav" / "lmy1.wav")
    write_text(tmp_path / "Main" / "main" / "lmy" / "transcript" / "lmy1.txt", "육십사쩜 오 퍼센트\n")
    write_text(tmp_path / "Main" / "main" / "lmy" / "script" / "lmy1.txt", "64.5%\n")
    (found,) = read_layout(tmp_path).utterances
    assert (found.id, found.speaker, found.written, found.spoken) == ("lmy1", "lmy", "64.5%", "육십사쩜 오 퍼센트")


def test_emotiontts_without_script_takes_the_transcript_as_written_and_the_folder_itself_as_speaker(
    tmp_path: Path,
) -> None:
    sound(tmp_path / "kim" / "wav" / "1.wav")
    write_text(tmp_path / "kim" / "transcript" / "1.txt", "안녕")
    (found,) = read_layout(tmp_path / "kim").utterances
    assert (found.speaker, found.written) == ("kim", "안녕")


def test_texts_come_composed_with_single_spaces(tmp_path: Path) -> None:
    sound(tmp_path / "kim" / "wav" / "1.wav")
    write_text(tmp_path / "kim" / "transcript" / "1.txt", " 안녕\n하세요 ")  # decomposed jamo
    assert read_layout(tmp_path).utterances[0].spoken == "안녕 하세요"


def test_librispeech_reads_any_sound_format_and_the_speaker_above_the_chapter(tmp_path: Path) -> None:
    for subset in ("", "train-clean-100/"):
        folder = tmp_path / f"{subset}19" / "198"
        sound(folder / "19-198-0001.flac")
        sound(folder / "19-198-0002.ogg")
        write_text(folder / "19-198.trans.txt", "19-198-0001 안녕 하세요\n19-198-0002 네\n\n", "utf-8")
    for root in (tmp_path / "train-clean-100", tmp_path / "19"):
        found = read_layout(root).utterances
        assert [item.spoken for item in found] == ["안녕 하세요", "네"]
    assert {item.speaker for item in read_layout(tmp_path / "train-clean-100").utterances} == {"19"}


@pytest.mark.parametrize(
    ("table", "line", "file", "written", "heard"),
    [
        ("metadata.csv", "LJ001|64%는|육십사 퍼센트는", "wavs/LJ001.wav", "64%는", "육십사 퍼센트는"),
        ("metadata.csv", "LJ001|안녕", "wavs/LJ001.wav", "안녕", "안녕"),
        ("metadata.csv", "LJ001.wav|안녕|", "LJ001.wav", "안녕", "안녕"),
        ("metadata.csv", "wavs/LJ001.flac|안녕", "wavs/LJ001.flac", "안녕", "안녕"),
        ("transcript.txt", "1/1_0.wav|3월|삼월|삼월|1.5|March", "1/1_0.wav", "3월", "삼월"),
        ("transcript.v.1.4.txt", "1/1_0.wav|3월|삼월|삼월|1.5|March", "kss/1/1_0.wav", "3월", "삼월"),
        ("transcript.txt", "1/1_0.wav|3월|삼월|삼월|1.5", "1/1_0.wav", "3월", "삼월"),
    ],
)
def test_ljspeech_and_kss_tables_of_two_to_six_columns(
    tmp_path: Path, table: str, line: str, file: str, written: str, heard: str
) -> None:
    root = tmp_path / "voice"
    sound(root / file)
    write_text(root / table, line + "\n", "utf-8")
    (found,) = read_layout(root).utterances
    assert (found.id, found.speaker, found.written, found.spoken) == (Path(file).stem, "voice", written, heard)


@pytest.mark.parametrize("line", ["LJ001", "a|b|c|d|e|f|g"])
def test_a_table_line_of_another_kind_is_named_with_its_number(tmp_path: Path, line: str) -> None:
    sound(tmp_path / "LJ001.wav")
    write_text(tmp_path / "metadata.csv", f"LJ001|안녕\n{line}\n")
    (refused,) = read_layout(tmp_path).refused
    assert refused.reason == "not a table line" and "metadata.csv:2: " in refused.detail


def test_what_cannot_be_an_utterance_is_refused_with_its_reason(tmp_path: Path) -> None:
    for name in ("good", "empty", "latin", "mute"):
        sound(tmp_path / "kim" / "wav" / f"{name}.wav")
        write_text(tmp_path / "kim" / "transcript" / f"{name}.txt", " \n" if name == "empty" else "안녕", "utf-8")
    write_text(tmp_path / "kim" / "transcript" / "latin.txt", "안녕", "cp949")
    (tmp_path / "kim" / "transcript" / "mute.txt").unlink()
    write_text(tmp_path / "kim" / "transcript" / "unheard.txt", "안녕")
    assert reasons(tmp_path) == {
        "empty": "empty transcript",
        "latin": "text is not UTF-8",
        "mute": "no transcript",
        "unheard": "no recording",
    }
    assert [item.id for item in read_layout(tmp_path).utterances] == ["good"]


def test_equal_names_of_two_speakers_take_their_folders_in_front(tmp_path: Path) -> None:
    for speaker in ("kim", "lee"):
        sound(tmp_path / speaker / "wav" / "001.wav")
        write_text(tmp_path / speaker / "transcript" / "001.txt", "안녕")
    assert [item.id for item in read_layout(tmp_path).utterances] == ["kim-001", "lee-001"]


def test_one_name_in_two_sound_formats_is_used_once_and_told(tmp_path: Path) -> None:
    for suffix in ("wav", "flac"):
        sound(tmp_path / "kim" / "wav" / f"1.{suffix}")
    write_text(tmp_path / "kim" / "transcript" / "1.txt", "안녕")
    found = read_layout(tmp_path)
    assert len(found.utterances) == 1 and [item.reason for item in found.refused] == ["same id twice"]


def test_listed_splits_are_kept_and_what_they_leave_out_is_told(emotiontts: Path) -> None:
    names = [item.id for item in read_layout(emotiontts).utterances]
    for split, part in (("train", names[:9]), ("dev", names[9:10]), ("test", names[10:11])):
        write_text(emotiontts / "splits" / f"{split}.txt", "\n".join(part))
    found = read_layout(emotiontts)
    assert Counter(item.split for item in found.utterances) == {"train": 9, "dev": 1, "test": 1}
    assert [(item.id, item.reason) for item in found.refused] == [(names[11], "in no split")]
    (emotiontts / "splits" / "train.txt").unlink()
    assert Counter(item.split for item in read_layout(emotiontts).utterances) == {"train": 10, "dev": 1, "test": 1}


def test_an_id_in_two_splits_is_an_error(emotiontts: Path) -> None:
    for split in ("train", "test"):
        write_text(emotiontts / "splits" / f"{split}.txt", "kim00000")
    with pytest.raises(CorpusError, match=r"'kim00000' stands in splits/train\.txt too"):
        read_layout(emotiontts)


def test_one_text_by_two_speakers_stands_in_one_split(tmp_path: Path) -> None:
    for speaker in ("kim", "lee"):
        for number, sentence in enumerate(SENTENCES):
            sound(tmp_path / speaker / "wav" / f"{speaker}{number}.wav")
            # The second speaker's transcripts lack the marks.
            text = sentence if speaker == "kim" else sentence.rstrip(".?")
            write_text(tmp_path / speaker / "transcript" / f"{speaker}{number}.txt", text)
    splits: dict[str, set[str]] = {}
    for item in read_layout(tmp_path).utterances:
        splits.setdefault(text_key(item.spoken), set()).add(item.split)
    assert len(splits) == len(SENTENCES) and all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "dev", "test"}


def test_splits_by_text_hold_out_a_twentieth_each_and_stay_as_the_corpus_grows() -> None:
    few, many = (split_by_text(f"문장{number}" for number in range(size)) for size in (2000, 4000))
    assert {split: few[split] for split in few} == {text: many[text] for text in few}
    shares = {split: count / 4000 for split, count in Counter(many.values()).items()}
    assert shares == pytest.approx({"train": 0.9, "dev": 0.05, "test": 0.05}, abs=0.01)


@pytest.mark.parametrize(
    ("size", "expected"), [(0, set()), (1, {"train"}), (2, {"train"}), (3, {"train", "dev", "test"})]
)
def test_splits_of_a_handful(size: int, expected: set[str]) -> None:
    assert set(split_by_text(SENTENCES[:size]).values()) == expected


def test_a_folder_of_no_layout_says_what_is_expected(tmp_path: Path) -> None:
    write_text(tmp_path / "notes.txt", "a, b")
    with pytest.raises(CorpusError, match="no known layout; expected wav/ beside transcript/"):
        detect_layout(tmp_path)


def test_a_missing_folder_and_an_unknown_layout_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        read_layout(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="layout 'tapes' is not known; give auto, folders"):
        read_layout(tmp_path, "tapes")


def test_a_folder_of_two_layouts_asks_which(emotiontts: Path) -> None:
    write_text(emotiontts / "metadata.csv", "kim00000|다른 글")
    with pytest.raises(CorpusError, match="could be folders or table; say which with --layout"):
        detect_layout(emotiontts)
    assert len(read_layout(emotiontts, "emotiontts").utterances) == len(SENTENCES)


@pytest.mark.data
def test_the_real_corpora_are_read_whole(data_folder: Path) -> None:
    for name, layout, utterances, speakers in (
        ("emotiontts", "folders", 1083, 32),
        ("tedxkr", "librispeech", 2387, 32),
    ):
        found = read_layout(data_folder / name)
        assert (found.layout, len(found.utterances), found.refused) == (layout, utterances, ())
        assert len({item.speaker for item in found.utterances}) == speakers
