"""Whole comparisons of recordings: prosody along the path, files, folders, and what cannot be compared."""

import numpy as np
import pytest

from malsori.audio.io import SOUND_SUFFIXES, save_audio
from malsori.errors import MetricError
from malsori.metrics.speech import compare_files, compare_folders, compare_speech, mean_difference, pair_folders

RATE = 16000


def voice(pitch, seconds=0.6, pause=0.2):
    """Return a buzz at a pitch with a faint pause in the middle."""
    time = np.arange(int(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * pitch * order * time) / order for order in range(1, 20))
    hiss = 1e-3 * np.random.default_rng(0).normal(size=int(pause * RATE))
    return (0.1 * np.concatenate([buzz, hiss, buzz])).astype(np.float32)


@pytest.fixture
def folders(tmp_path):
    for name, pitches in (("a", (120, 150)), ("b", (126, 150))):
        for place, pitch in enumerate(pitches):
            save_audio(tmp_path / name / f"{place}.wav", voice(pitch), RATE)
    return tmp_path / "a", tmp_path / "b"


def test_a_semitone_higher_is_100_cents():
    found = compare_speech(voice(120.0), voice(120.0 * 2 ** (1 / 12)), RATE)
    assert found.prosody.log_f0_rmse_cents == pytest.approx(100, abs=5)
    assert found.prosody.f0_rmse_hz == pytest.approx(7.1, abs=0.5)
    assert found.prosody.voicing_error < 0.05


def test_equal_sounds_differ_in_nothing():
    found = compare_speech(voice(140.0), voice(140.0), RATE).as_json()
    assert found["mcd_db"] == found["log_f0_rmse_cents"] == found["voicing_error"] == found["mel_l1"] == 0.0
    assert found["duration_ratio"] == 1.0


def test_length_and_voicing_are_told():
    whisper = 0.1 * np.random.default_rng(0).normal(size=len(voice(120.0))).astype(np.float32)
    found = compare_speech(voice(120.0), whisper, RATE).prosody
    assert found.voicing_error > 0.5 and found.log_f0_rmse_cents is None
    assert compare_speech(voice(120.0), voice(120.0, 0.9), RATE).prosody.duration_ratio == pytest.approx(2.0 / 1.4)


def test_folders_are_paired_by_name_and_averaged(folders):
    results = {each.name: each.difference for each in compare_folders(pair_folders(*folders))}
    assert list(results) == ["0", "1"] and results["1"].mcd_db == 0.0
    means = mean_difference([*results.values()])
    assert means["pairs"] == 2 and means["mcd_db"] == pytest.approx(results["0"].mcd_db / 2)


def test_a_pair_that_cannot_be_measured_carries_the_reason(folders):
    save_audio(folders[1] / "0.wav", np.zeros(RATE, np.float32), RATE)
    failed, measured = compare_folders(pair_folders(*folders))
    assert failed.difference is None and "0.wav" in failed.failure and "silent" in failed.failure
    assert measured.difference is not None and not measured.failure


@pytest.mark.parametrize("suffix", SOUND_SUFFIXES)
def test_folders_of_every_kind_of_sound_file_that_is_read_are_paired(tmp_path, suffix):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"one{suffix.upper()}").touch()
    assert pair_folders(tmp_path / "a", tmp_path / "b").keys() == {"one"}


def test_folders_of_aiff_are_measured_as_two_files_are(folders):
    import soundfile

    for folder in folders:
        for path in folder.iterdir():
            soundfile.write(str(path.with_suffix(".aiff")), *soundfile.read(str(path)))
            path.unlink()
    pairs = pair_folders(*folders)
    assert [each.difference for each in compare_folders(pairs)] == [compare_files(*pair) for pair in pairs.values()]


def test_two_files_of_one_name_in_a_folder_are_refused(folders):
    save_audio(folders[0] / "0.flac", voice(100.0), RATE)
    with pytest.raises(MetricError, match=r"0\.wav: 0\.flac has the same name"):
        pair_folders(*folders)


def test_sounds_without_a_partner_are_told(folders):
    save_audio(folders[0] / "9.wav", voice(100.0), RATE)
    with pytest.raises(MetricError, match=r"1 \(9\)"):
        pair_folders(*folders)


def test_different_rates_are_told_unless_one_is_chosen(tmp_path):
    save_audio(tmp_path / "a.wav", voice(120.0), 8000)
    save_audio(tmp_path / "b.wav", np.repeat(voice(120.0), 6), 48000)
    with pytest.raises(MetricError, match=r"8000 Hz.*48000 Hz.*--rate 8000"):
        compare_files(tmp_path / "a.wav", tmp_path / "b.wav")
    assert compare_files(tmp_path / "a.wav", tmp_path / "b.wav", rate=8000).mcd_db > 0


def test_a_very_short_sound_is_measured():
    assert compare_speech(voice(120.0)[:400], voice(120.0)[:900], RATE).path_frames >= 6
