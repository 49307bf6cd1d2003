"""Ground truth: what is in the folder fits together, and a broken run ends in the same bytes as an unbroken one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from malsori.audio.io import load_audio, save_audio
from malsori.audio.pitch import energy
from malsori.config import RECOGNITION_AUDIO, AudioConfig
from malsori.corpus import ground_truth
from malsori.corpus.folder import MARKER, add_ground_truth, load_corpus, read_ground_truth
from malsori.corpus.ground_truth import PrepareOptions, audio_at, prepare, safe_name, trimmed
from malsori.errors import AudioError, CorpusError

from .conftest import RATE, SENTENCES, buzz, spoken, write_emotiontts, write_text

Contents = Callable[[Path], dict[str, bytes]]
ALONE = PrepareOptions(audio=RECOGNITION_AUDIO, workers=1)


@pytest.mark.parametrize("audio", [AudioConfig(), RECOGNITION_AUDIO])
def test_prepared_arrays_fit_their_wave(emotiontts: Path, tmp_path: Path, audio: AudioConfig) -> None:
    prepare(emotiontts, tmp_path / "out", PrepareOptions(audio=audio, workers=1))
    corpus = load_corpus(tmp_path / "out")
    assert corpus.audio == audio and corpus.speakers == ("kim", "lee")
    cuts = [cut for split in corpus.cuts.values() for cut in split]
    assert sorted(cut.supervisions[0].text for cut in cuts) == sorted(SENTENCES)
    for cut in cuts:
        wave = load_audio(tmp_path / "out" / "wave" / f"{cut.id}.flac", audio.sample_rate)
        truth = corpus.ground_truth(cut)
        frames = len(wave) // audio.hop_samples
        assert len(wave) == cut.num_samples == frames * audio.hop_samples
        assert truth["mel"].shape == (frames, audio.mel_channels)
        assert truth["pitch_hz"].shape == truth["energy"].shape == (frames,)
        assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in truth.values())
        assert np.array_equal(truth["energy"], energy(truth["mel"]))
        assert np.array_equal(cut.load_audio()[0], wave)  # lhotse finds the recording


def test_a_prepared_corpus_can_be_moved(emotiontts: Path, tmp_path: Path) -> None:
    prepare(emotiontts, tmp_path / "out", ALONE)
    shutil.rmtree(emotiontts)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    corpus = load_corpus(tmp_path / "elsewhere")
    cut = next(iter(corpus.cuts["train"]))
    assert cut.load_audio().shape[1] == len(corpus.ground_truth(cut)["mel"]) * RECOGNITION_AUDIO.hop_samples
    assert b"recordings/" not in (tmp_path / "elsewhere" / "corpus.json").read_bytes()


def test_a_corpus_says_who_found_its_pitch_and_goes_on_with_it(emotiontts: Path, tmp_path: Path) -> None:
    pytest.importorskip("parselmouth", reason="Praat is an extra")
    prepare(emotiontts, tmp_path / "ours", ALONE)
    assert load_corpus(tmp_path / "ours").pitch_tracker == "autocorrelation"
    praat = ALONE.model_copy(update={"pitch_tracker": "praat"})
    prepare(emotiontts, tmp_path / "praats", praat)
    assert load_corpus(tmp_path / "praats").pitch_tracker == "praat"
    again = prepare(emotiontts, tmp_path / "praats", ALONE)
    assert again.reused == len(SENTENCES) and load_corpus(tmp_path / "praats").pitch_tracker == "praat"
    with pytest.raises(CorpusError, match="its pitch is by 'autocorrelation', not 'praat'"):
        prepare(emotiontts, tmp_path / "ours", praat)


def test_a_corpus_made_before_trackers_were_named_is_praats_and_stays_whole(emotiontts: Path, tmp_path: Path) -> None:
    pytest.importorskip("parselmouth", reason="Praat is an extra")
    out = tmp_path / "out"
    prepare(emotiontts, out, ALONE.model_copy(update={"pitch_tracker": "praat"}))
    facts = json.loads((out / "corpus.json").read_text(encoding="utf-8"))
    del facts["pitch_tracker"]
    (out / "corpus.json").write_text(json.dumps(facts), encoding="utf-8")
    assert load_corpus(out).pitch_tracker == "praat"
    assert prepare(emotiontts, out, ALONE).reused == len(SENTENCES)


def test_written_text_and_speaker_stand_in_the_cut(tmp_path: Path) -> None:
    source = write_emotiontts(tmp_path / "recordings", ("삼월이에요.",), ("lmy",))
    write_text(source / "Main" / "lmy" / "script" / "lmy00000.txt", "3월이에요.")
    prepare(source, tmp_path / "out", ALONE)
    (cut,) = load_corpus(tmp_path / "out").cuts["train"]
    said = cut.supervisions[0]
    assert (said.text, said.custom, said.speaker, said.language) == (
        "삼월이에요.",
        {"written": "3월이에요.", "split": "train"},
        "lmy",
        "ko",
    )


def test_silence_is_trimmed_to_a_tenth_of_a_second_and_sound_is_kept_whole() -> None:
    whole = spoken(seconds=1.0, before=0.7, after=1.1)
    kept = trimmed(whole, RECOGNITION_AUDIO)
    start = int(np.flatnonzero(whole == kept[0])[0])
    assert np.array_equal(whole[start : start + len(kept)], kept)
    assert start / RATE == pytest.approx(0.6, abs=0.011)
    assert (start + len(kept)) / RATE == pytest.approx(1.8, abs=0.011)
    assert len(kept) % RECOGNITION_AUDIO.hop_samples == 0


@pytest.mark.parametrize("decibels", [-20, -30, -40])
def test_a_soft_first_sound_is_not_taken_for_silence(decibels: int) -> None:
    soft = (
        10 ** (decibels / 20) * np.sqrt(np.square(buzz(1.0)).mean()) * np.random.default_rng(0).normal(size=RATE // 5)
    )
    wave = np.concatenate([np.zeros(RATE // 2), soft, buzz(1.0), np.zeros(RATE // 2)]).astype(np.float32)
    kept = trimmed(wave, RECOGNITION_AUDIO)
    assert len(kept) / RATE == pytest.approx(0.1 + 0.2 + 1.0 + 0.1, abs=0.025)


def test_speech_up_to_the_very_end_is_kept_but_for_less_than_a_hop() -> None:
    for samples in (RATE, RATE + 1, RATE + 159):
        kept = trimmed(np.tile(buzz(1.0), 2)[:samples], RECOGNITION_AUDIO)
        assert samples - RECOGNITION_AUDIO.hop_samples < len(kept) <= samples


@pytest.mark.parametrize(
    ("wave", "said"),
    [(np.zeros(RATE), "silent"), (buzz(1.0) * 1e-3, "silent"), (buzz(0.1), "too short"), (np.zeros(3), "silent")],
)
def test_what_is_too_little_to_learn_from_says_so(wave: np.ndarray, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        trimmed(wave.astype(np.float32), RECOGNITION_AUDIO)


def test_every_fault_is_skipped_counted_by_reason_and_the_rest_goes_on(emotiontts: Path, tmp_path: Path) -> None:
    kim, lee = emotiontts / "Main" / "kim", emotiontts / "Main" / "lee"
    flac = kim / "wav" / "kim00000.flac"
    flac.write_bytes(flac.read_bytes()[:2000])
    write_text(lee / "transcript" / "lee00001.txt", "\n")
    write_text(kim / "transcript" / "kim00002.txt", "안녕 \u0e2a 하세요")
    save_audio(lee / "wav" / "lee00003.flac", np.zeros(RATE, dtype=np.float32), RATE)
    save_audio(kim / "wav" / "kim00004.flac", buzz(0.15), RATE)
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    save_audio(lee / "wav" / "lee00005.flac", noise, RATE)
    (kim / "transcript" / "kim00006.txt").write_bytes("안녕".encode("cp949"))
    (lee / "wav" / "lee00007.flac").unlink()
    summary = prepare(emotiontts, tmp_path / "out", ALONE)
    assert summary.skipped == {
        "empty transcript": ["lee00001"],
        "no recording": ["lee00007"],
        "no voice": ["lee00005"],
        "silent": ["lee00003"],
        "sound cannot be read": ["kim00000"],
        "text cannot be read": ["kim00002"],
        "text is not UTF-8": ["kim00006"],
        "too short": ["kim00004"],
    }
    assert sum(summary.utterances.values()) == len(SENTENCES) - 8
    facts = json.loads((tmp_path / "out" / "corpus.json").read_text(encoding="utf-8"))
    assert facts["skipped"] == summary.skipped and facts["utterances"] == summary.utterances


def test_a_corpus_of_nothing_usable_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    source = write_emotiontts(tmp_path / "recordings", SENTENCES[:2])
    for path in source.rglob("*.flac"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorpusError, match="none of 2 utterances can be used: sound cannot be read 2"):
        prepare(source, tmp_path / "out", ALONE)


def test_a_second_run_makes_nothing_anew_and_changes_no_byte(
    emotiontts: Path, tmp_path: Path, contents: Contents
) -> None:
    prepare(emotiontts, tmp_path / "out", ALONE)
    before = contents(tmp_path / "out")
    assert prepare(emotiontts, tmp_path / "out", ALONE).reused == len(SENTENCES)
    assert contents(tmp_path / "out") == before


def test_a_changed_recording_or_text_is_made_anew_and_a_removed_one_goes(
    emotiontts: Path, tmp_path: Path, contents: Contents
) -> None:
    prepare(emotiontts, tmp_path / "out", ALONE)
    save_audio(emotiontts / "Main" / "kim" / "wav" / "kim00000.flac", spoken(50), RATE)
    write_text(emotiontts / "Main" / "lee" / "transcript" / "lee00001.txt", "네, 그렇습니다.")
    (emotiontts / "Main" / "kim" / "wav" / "kim00002.flac").unlink()
    assert prepare(emotiontts, tmp_path / "out", ALONE).reused == len(SENTENCES) - 3
    prepare(emotiontts, tmp_path / "fresh", ALONE)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("writes", [0, 1, 2, 7, 23, 24, 25])
def test_a_run_broken_at_any_write_goes_on_to_the_same_bytes(
    emotiontts: Path, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    prepare(emotiontts, tmp_path / "whole", ALONE)
    left = [writes]
    replace = Path.replace

    def breaking(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", breaking)
    with pytest.raises(KeyboardInterrupt):
        prepare(emotiontts, tmp_path / "broken", ALONE)
    monkeypatch.undo()
    if writes:
        with pytest.raises(CorpusError, match="preparation was interrupted; run the same 'malsori corpus prepare"):
            load_corpus(tmp_path / "broken")
    prepare(emotiontts, tmp_path / "broken", ALONE)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_halves_left_by_a_kill_are_made_anew_and_swept_away(
    emotiontts: Path, tmp_path: Path, contents: Contents
) -> None:
    prepare(emotiontts, tmp_path / "out", ALONE)
    before = contents(tmp_path / "out")
    shutil.copy(tmp_path / "out" / "wave" / "kim00000.flac", tmp_path / "out" / "wave" / ".kim00000.flac.7.part")
    half = tmp_path / "out" / "ground_truth" / "lee00001.safetensors"
    half.write_bytes(half.read_bytes()[:100])
    (tmp_path / "out" / "wave" / "kim00002.flac").unlink()
    assert prepare(emotiontts, tmp_path / "out", ALONE).reused == len(SENTENCES) - 2
    assert contents(tmp_path / "out") == before


def test_alignment_added_to_a_file_outlives_the_next_preparation(emotiontts: Path, tmp_path: Path) -> None:
    prepare(emotiontts, tmp_path / "out", ALONE)
    path = tmp_path / "out" / "ground_truth" / "kim00000.safetensors"
    frames = len(read_ground_truth(path)["mel"])
    durations = np.array([frames - 5, 5], dtype=np.int32)
    add_ground_truth(path, {"durations": durations, "token_ids": np.array([3, 4], dtype=np.int32)})
    prepare(emotiontts, tmp_path / "out", ALONE)
    assert np.array_equal(read_ground_truth(path)["durations"], durations)
    with pytest.raises(CorpusError, match=f"durations sum to {frames - 1}, the mel has {frames} frames"):
        add_ground_truth(path, {"durations": durations - [1, 0]})


def test_a_folder_of_something_else_is_not_touched(emotiontts: Path, tmp_path: Path, contents: Contents) -> None:
    write_text(tmp_path / "out" / "wave" / "mine.flac", "mine")
    with pytest.raises(CorpusError, match="exists and is not a corpus"):
        prepare(emotiontts, tmp_path / "out", ALONE)
    with pytest.raises(CorpusError, match="is the source itself"):
        prepare(emotiontts, emotiontts, ALONE)
    assert list(contents(tmp_path / "out")) == ["wave/mine.flac"]


def test_a_corpus_of_another_rate_or_source_is_not_overwritten(emotiontts: Path, tmp_path: Path) -> None:
    prepare(emotiontts, tmp_path / "out", ALONE)
    with pytest.raises(CorpusError, match="was made at 16000 Hz, not 22050"):
        prepare(emotiontts, tmp_path / "out", PrepareOptions(workers=1))
    with pytest.raises(CorpusError, match="holds a corpus of 'recordings', not 'others'"):
        prepare(write_emotiontts(tmp_path / "others"), tmp_path / "out", ALONE)


def test_another_folder_of_the_same_name_loses_nothing(emotiontts: Path, tmp_path: Path, contents: Contents) -> None:
    prepare(emotiontts, tmp_path / "out", ALONE)
    before = contents(tmp_path / "out")
    fewer = write_emotiontts(tmp_path / "b" / "recordings", SENTENCES[:3])
    alike = write_emotiontts(tmp_path / "c" / "recordings", SENTENCES[::-1])  # the same ids, other texts and sounds
    for other, why in ((fewer, "is not there, and 9 of 12"), (alike, "is another recording or text there, and 12 of")):
        with pytest.raises(CorpusError, match=f"not of {other}: .* {why}"):
            prepare(other, tmp_path / "out", ALONE)
        assert contents(tmp_path / "out") == before


def test_a_source_that_was_moved_goes_on(emotiontts: Path, tmp_path: Path) -> None:
    prepare(emotiontts, tmp_path / "out", ALONE)
    (tmp_path / "elsewhere").mkdir()
    moved = emotiontts.rename(tmp_path / "elsewhere" / "recordings")
    assert prepare(moved, tmp_path / "out", ALONE).reused == len(SENTENCES)


@pytest.mark.parametrize(
    ("name", "kept"),
    [("lmy01001", True), ("a.b-c_D", True), ("가나다", False), ("a/b", False), (".x", False), ("x" * 300, False)],
)
def test_ids_become_file_names_that_are_safe_and_differ(name: str, kept: bool) -> None:
    safe = safe_name(name)
    assert (safe == name) == kept and safe.isascii() and "/" not in safe and 0 < len(safe) < 120 and safe[0] != "."
    assert safe_name(name + "라") != safe


def test_an_id_that_is_no_file_name_is_kept_in_the_cut(tmp_path: Path) -> None:
    save_audio(tmp_path / "recordings" / "홍길동" / "wav" / "첫째.flac", spoken(), RATE)
    write_text(tmp_path / "recordings" / "홍길동" / "transcript" / "첫째.txt", SENTENCES[0])
    prepare(tmp_path / "recordings", tmp_path / "out", ALONE)
    (cut,) = load_corpus(tmp_path / "out").cuts["train"]
    assert cut.supervisions[0].custom["original_id"] == "첫째" and cut.supervisions[0].speaker == "홍길동"
    assert cut.id == safe_name("첫째")


def test_only_the_two_rates_that_models_use_are_accepted() -> None:
    assert audio_at(16000) == RECOGNITION_AUDIO and audio_at(22050) == AudioConfig()
    with pytest.raises(CorpusError, match="rate 44100: 16000 and 22050 Hz are accepted"):
        audio_at(44100)


def test_a_folder_that_is_no_corpus_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="make one with 'malsori corpus prepare SOURCE"):
        load_corpus(tmp_path)


def test_a_corpus_of_another_format_is_refused(emotiontts: Path, tmp_path: Path) -> None:
    prepare(emotiontts, tmp_path / "out", ALONE)
    facts = json.loads((tmp_path / "out" / "corpus.json").read_text(encoding="utf-8"))
    write_text(tmp_path / "out" / "corpus.json", json.dumps(facts | {"format": "malsori-corpus-9"}), "utf-8")
    with pytest.raises(CorpusError, match="format 'malsori-corpus-9', this malsori reads 'malsori-corpus-1'"):
        load_corpus(tmp_path / "out")


def command(source: Path, out: Path, workers: int) -> list[str]:
    options = ["--rate", "16000", "--workers", str(workers)]
    return [sys.executable, "-m", "malsori", "corpus", "prepare", str(source), str(out), *options]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(ground_truth.__file__).parents[2])}


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_run_killed_at_any_time_goes_on_to_the_same_bytes(
    tmp_path: Path, contents: Contents, sent: signal.Signals
) -> None:
    """Killed again and again at growing times, with two workers, then left to finish: as one unbroken run alone."""
    source = write_emotiontts(tmp_path / "recordings", SENTENCES * 5)
    prepare(source, tmp_path / "whole", ALONE)
    for number in range(0, 6, 2):
        process = subprocess.Popen(command(source, tmp_path / "out", 2), env=environment(), stderr=subprocess.PIPE)
        while not (tmp_path / "out" / MARKER).is_file() and process.poll() is None:
            time.sleep(0.05)
        made = len(list((tmp_path / "out").glob("wave/*.flac")))
        while process.poll() is None and len(list((tmp_path / "out").glob("wave/*.flac"))) < made + 2 * number:
            time.sleep(0.02)
        process.send_signal(sent)
        _, told = process.communicate(timeout=60)
        assert process.returncode in ((-9, 0) if sent == signal.SIGKILL else (130, 0)), told.decode()
        # a worker that was just starting when its parent was killed outright says so: nobody is left to hush it
        assert sent == signal.SIGKILL or b"Traceback" not in told, told.decode()
    subprocess.run(command(source, tmp_path / "out", 2), env=environment(), check=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.data
def test_real_recordings_are_prepared_without_a_loss(data_folder: Path, tmp_path: Path) -> None:
    summary = prepare(data_folder / "emotiontts", tmp_path / "emo", PrepareOptions(workers=2))
    assert summary.utterances == {"train": 1012, "dev": 34, "test": 37} and not summary.refused
    assert sum(summary.hours.values()) == pytest.approx(1.357, abs=0.001)
