"""All that is in a sound file is read, what is missing is told in one line, and no file takes the reader down."""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from malsori.audio.io import audio_info, load_audio, read_sound, stream_audio
from malsori.audio.mpeg import mpeg_parts
from malsori.audio.ogg import ogg_parts
from malsori.audio.stretches import Window
from malsori.errors import AudioError, SoundWarning

from .damage import (
    BY_FFMPEG,
    BY_LIBSNDFILE,
    KINDS,
    LOSSLESS,
    RATE,
    by_ffmpeg,
    cut,
    mutations,
    speechlike,
    written,
)

pytestmark = pytest.mark.filterwarnings("error")  # of a whole file nothing is told


MP4 = ("m4a", "alac", "3gp", "mov")
COARSE = ("ac3", "flv", "ts", "tta", "wma", "wv")  # nothing tells how long they are, to a tenth of a second


def likeness(wave: np.ndarray, copy: np.ndarray) -> float:
    """Return the highest correlation of two waves over their delays to a quarter of a second."""
    size = 2 * max(len(wave), len(copy))
    products = np.fft.irfft(np.fft.rfft(copy, size) * np.conj(np.fft.rfft(wave, size)))
    reach = RATE // 4
    best = max(products[:reach].max(), products[-reach:].max())
    return float(best / np.sqrt(np.square(wave).sum() * np.square(copy).sum()))


def told(path: Path) -> tuple[np.ndarray, str]:
    """Return a file's sound at RATE, and what is said to be missing, which is one line."""
    sound = read_sound(path, RATE)
    assert "\n" not in sound.missing
    return sound.wave, sound.missing


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_read_whole_and_nothing_is_told(tmp_path: Path, kind: str, channels: int) -> None:
    if kind == "3gp" and channels == 2:
        pytest.skip("phones write one channel")
    wave = speechlike(channels=channels)
    (tmp_path / "a").write_bytes(written(kind, wave))
    sound, missing = told(tmp_path / "a")
    assert not missing
    least = -0.1 if kind == "wma" else 0.0  # FFmpeg drops its first frame
    assert least * RATE <= len(sound) - 2 * RATE <= 0.2 * RATE
    assert likeness(wave.mean(axis=1), sound) > 0.98
    if kind in LOSSLESS:
        assert np.abs(sound - wave.mean(axis=1)).max() < 1e-4
    assert audio_info(tmp_path / "a").seconds == pytest.approx(len(sound) / RATE, abs=0.01)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {*MP4, *COARSE}])
def test_a_cut_file_is_read_as_far_as_it_goes_and_told(tmp_path: Path, kind: str, share: float) -> None:
    (tmp_path / "a").write_bytes(cut(written(kind, speechlike(3.0)), share))
    sound, missing = told(tmp_path / "a")
    assert missing
    assert (share - 0.25) * 3 * RATE < len(sound) < (share + 0.12) * 3 * RATE
    assert likeness(speechlike(3.0)[: len(sound), 0], sound) > 0.9


@pytest.mark.parametrize("kind", MP4)
def test_an_mp4_whose_index_is_cut_off_says_that_it_is(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(cut(written(kind, speechlike()), 0.6))
    with pytest.raises(AudioError, match=r"cut short: .*its index \('moov'\), which stands at the end, is not there"):
        load_audio(tmp_path / "a")


@pytest.mark.parametrize("channels", [2, 6])
@pytest.mark.parametrize("kind", ["wav", "wav24", "aiff", "w64", "flac", "caf", "wav_float"])
def test_a_cut_file_of_several_channels_is_told_to_the_sample(tmp_path: Path, kind: str, channels: int) -> None:
    wave = speechlike(channels=channels)
    (tmp_path / "a").write_bytes(cut(written(kind, wave), 0.995))
    sound, missing = told(tmp_path / "a")
    assert 1.7 * RATE < len(sound) < 2 * RATE
    assert f": {len(sound) / RATE:.3f} of 2.000 s are there" in missing
    assert np.abs(sound - wave[: len(sound)].mean(axis=1)).max() < 1e-4


JOINED = [
    "wav",
    "wav24",
    "aiff",
    "au",
    "w64",
    "flac",
    "ogg",
    "opus",
    "mp3",
    "m4a",
    "alac",
    "webm",
    "mkv",
    "aac",
    "ac3",
    "wma",
]


@pytest.mark.parametrize("kind", JOINED)
def test_files_joined_to_one_are_read_one_after_the_other(tmp_path: Path, kind: str) -> None:
    waves = [speechlike(1.5, seed=1), speechlike(2.5, rate=RATE)[::-1], speechlike(1.0, seed=3)]
    (tmp_path / "a").write_bytes(b"".join(written(kind, wave) for wave in waves))
    sound, missing = told(tmp_path / "a")
    assert not missing and -0.1 * RATE <= len(sound) - 5 * RATE < 0.4 * RATE  # AAC fills its frames, WMA drops some
    assert likeness(waves[0][:, 0], sound[: round(1.6 * RATE)]) > 0.9
    assert likeness(waves[2][:, 0], sound[round(-1.2 * RATE) :]) > 0.8
    if kind in ("wav", "flac", "mp3", "ogg", "opus"):
        assert audio_info(tmp_path / "a").seconds == pytest.approx(len(sound) / RATE, abs=0.01)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg"])
def test_joined_files_may_differ_in_rate_and_channels(tmp_path: Path, kind: str) -> None:
    parts = [written(kind, speechlike(2.0)), written(kind, speechlike(2.0, 44100, 2), 44100)]
    (tmp_path / "a").write_bytes(b"".join(parts))
    sound, missing = told(tmp_path / "a")
    assert not missing and abs(len(sound) - 4 * RATE) < 0.1 * RATE
    assert likeness(np.concatenate([speechlike()[:, 0], speechlike()[:, 0]]), sound) > 0.98


def without_info_tag(content: bytes) -> bytes:
    """Return an MP3 as a pipe writes it: its first frame, which would say how many there are, is missing."""
    second = content.index(b"\xff\xf3", 4) if b"\xff\xf3" in content[:4] else content.index(b"\xff\xfb", 4)
    return content[second:]


def test_an_mp3_without_its_info_tag_is_read_whole(tmp_path: Path) -> None:
    wave = np.concatenate([np.zeros((3 * RATE, 1), dtype=np.float32), speechlike(3.0)])  # low bit rate, then high
    (tmp_path / "a").write_bytes(without_info_tag(written("mp3", wave)))
    sound, missing = told(tmp_path / "a")
    assert not missing and 6 * RATE <= len(sound) < 6.2 * RATE and likeness(wave[:, 0], sound) > 0.98
    assert audio_info(tmp_path / "a").samples == len(sound)


def test_an_mp3_cut_at_its_front_is_read_from_there(tmp_path: Path) -> None:
    content = without_info_tag(written("mp3", speechlike(3.0)))
    (tmp_path / "a").write_bytes(content[len(content) // 2 + 7 :])
    sound, missing = told(tmp_path / "a")
    assert "bytes are no whole MP3 frame" in missing and 1.2 * RATE < len(sound) < 1.8 * RATE


@pytest.mark.parametrize("hidden", [False, True])
def test_a_flac_whose_length_a_pipe_did_not_know_is_read_whole(tmp_path: Path, hidden: bool, monkeypatch) -> None:
    content = bytearray(written("flac", speechlike()))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "a").write_bytes(content)
    if hidden:
        monkeypatch.setitem(sys.modules, "av", None)
    sound, missing = told(tmp_path / "a")
    assert not missing and np.abs(sound - speechlike()[:, 0]).max() < 1e-4
    assert audio_info(tmp_path / "a").samples == 2 * RATE


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", ["wav", "wav24", "au"])
def test_a_header_that_was_never_finished_hides_no_sound(tmp_path: Path, kind: str, size: int) -> None:
    content = bytearray(written(kind, speechlike()))
    order, place = ("big", 8) if kind == "au" else ("little", content.index(b"data") + 4)
    content[place : place + 4] = size.to_bytes(4, order)
    if kind != "au":
        content[4:8] = size.to_bytes(4, order)
    (tmp_path / "a").write_bytes(content)
    sound, missing = told(tmp_path / "a")
    assert not missing and len(sound) == 2 * RATE


@pytest.mark.parametrize("kind", ["flac", "flac24"])
def test_a_flac_damaged_in_its_middle_is_read_behind_it_too(tmp_path: Path, kind: str) -> None:
    content = bytearray(written(kind, speechlike(4.0)))
    content[len(content) // 2] ^= 0x55
    (tmp_path / "a").write_bytes(content)
    sound, missing = told(tmp_path / "a")
    assert "unreadable at " in missing and len(sound) > 3.4 * RATE
    assert likeness(speechlike(4.0)[-RATE:, 0], sound[-RATE:]) > 0.99


def test_without_the_extra_a_damaged_flac_says_what_would_read_on(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    content = bytearray(written("flac", speechlike(4.0)))
    content[len(content) // 2] ^= 0x55
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.warns(SoundWarning, match=r"a\.flac: .* of 4\.000 s are there .*pip install 'malsori\[ffmpeg\]'"):
        assert len(load_audio(tmp_path / "a.flac")) > RATE


@pytest.mark.parametrize("kind", ["mp3", "ogg", "opus", "flac", "wav"])
def test_joined_files_need_no_extra(tmp_path: Path, kind: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a").write_bytes(2 * written(kind, speechlike()))
    sound, missing = told(tmp_path / "a")
    assert not missing and abs(len(sound) - 4 * RATE) < 0.1 * RATE


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_of_opposite_sign_do_not_silence_one_another(tmp_path: Path, channels: int) -> None:
    wave = speechlike(channels=1)[:, 0]
    signs = np.array([1, -1, 1, -1, 1, -1][:channels])
    (tmp_path / "a").write_bytes(written("wav", wave[:, None] * signs))
    sound, missing = told(tmp_path / "a")
    assert not missing and max(likeness(wave, sound), likeness(wave, -sound)) > 0.999
    assert np.abs(sound).max() == pytest.approx(np.abs(wave).max(), abs=1e-3)


def test_the_default_track_is_taken(tmp_path: Path) -> None:
    tracks = [speechlike(3.0, seed=1), speechlike(2.0)[::-1]]
    for number in (0, 1):
        (tmp_path / "a.mkv").write_bytes(by_ffmpeg(tracks, RATE, "matroska", "flac", number))
        sound, missing = told(tmp_path / "a.mkv")
        assert not missing and len(sound) == len(tracks[number])


@pytest.mark.parametrize("seconds", [0.13, 1.0])
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "opus", "mp3", "m4a", "webm"])
def test_a_stream_is_the_whole_sample_by_sample(tmp_path: Path, kind: str, seconds: float) -> None:
    wave = np.concatenate([speechlike(3.0, channels=2), -speechlike(1.0, channels=2) * [1, -1]])
    (tmp_path / "a").write_bytes(written(kind, wave.astype(np.float32)))
    for rate in (RATE, 22050):
        pieces = list(stream_audio(tmp_path / "a", rate, seconds))
        assert len(pieces) > 3 and np.array_equal(np.concatenate(pieces), load_audio(tmp_path / "a", rate))


@pytest.mark.parametrize("name", ["회의 10:30.mp3", "한글" * 40 + ".WAV", "100%d.flac", "file:talk.m4a", "-o.webm"])
def test_a_name_says_nothing_about_what_is_in_a_file(tmp_path: Path, name: str) -> None:
    for kind in ("wav", "m4a"):
        (tmp_path / name).write_bytes(written(kind, speechlike()))
        assert len(load_audio(tmp_path / name)) >= 2 * RATE


@pytest.mark.parametrize("name", ["a.raw", "a.vox", "a.gsm", "a.wav"])
def test_text_under_a_sounds_name_is_not_taken_for_sound(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("이것은 소리가 아닙니다. " * 100, encoding="utf-8")
    with pytest.raises(AudioError, match="not a sound file that can be read"):
        load_audio(tmp_path / name)


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "other.wav").write_bytes(written("wav", speechlike()))
    for text in (f"#EXTM3U\n#EXTINF:2,\n{tmp_path}/other.wav\n", f"ffconcat version 1.0\nfile {tmp_path}/other.wav\n"):
        (tmp_path / "list.m3u8").write_text(text)
        with pytest.raises(AudioError, match="not a sound file"):
            load_audio(tmp_path / "list.m3u8")


@pytest.mark.parametrize(("rate", "said"), [(2147483647, "2147483647 Hz is none"), (3, "3 Hz is none")])
def test_an_absurd_sample_rate_is_refused(tmp_path: Path, rate: int, said: str) -> None:
    content = bytearray(written("wav", speechlike()))
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=said):
        load_audio(tmp_path / "a.wav", RATE)


def a_fifo(path: Path) -> str:
    import os

    os.mkfifo(path)
    return "is a pipe"


def a_link_to_a_device(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "is a device"


def a_link_in_a_circle(path: Path) -> str:
    path.symlink_to(path)
    return "cannot be opened: too many levels of symbolic links"


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
@pytest.mark.parametrize("plant", [a_fifo, a_link_to_a_device, a_link_in_a_circle])
def test_what_is_no_file_is_told_and_never_waited_for(tmp_path: Path, plant) -> None:
    said = plant(tmp_path / "a.wav")
    for read in (load_audio, audio_info, lambda path: next(stream_audio(path, RATE))):
        with pytest.raises(AudioError, match=said):
            read(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["가" * 300 + ".wav", "a\0b.wav"])
def test_a_name_that_no_disk_takes_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioError, match="cannot be opened"):
        load_audio(tmp_path / name)


def test_a_file_that_holds_less_than_its_size_says_is_not_waited_for(tmp_path: Path) -> None:
    """As files in /sys are, and those that are shortened while they are read."""
    for kind in ("mp3", "ogg", "aac", "wav", "m4a"):
        (tmp_path / "a").write_bytes(content := written(kind, speechlike()))
        with (tmp_path / "a").open("rb") as file:
            window = Window(file, 0, 10 * len(content))
            assert window.find(b"never there", 0) == -1 and window.end == len(content)
            window = Window(file, 0, 10 * len(content))
            list(mpeg_parts(window)), list(ogg_parts(window))
            assert window.end == len(content)


def test_frames_of_too_many_planes_are_not_touched(tmp_path: Path, monkeypatch) -> None:
    """A damaged AAC stream said 14 channels, and PyAV read past its planes: the process ended."""
    (tmp_path / "a").write_bytes(written("aac", speechlike()))
    monkeypatch.setattr("malsori.audio.decoders._MOST_PLANES", 0)
    with pytest.raises(AudioError, match="nothing in it can be decoded"):
        load_audio(tmp_path / "a")


def tried(path: Path) -> str:
    """Return what came of reading a file: 'read', 'told' or 'refused'. Anything else raises."""
    try:
        sound = read_sound(path, RATE)
    except AudioError as error:
        assert "\n" not in str(error)
        return "refused"
    assert len(sound.wave) < 60 * RATE * 60 and np.isfinite(sound.wave).all()
    return "told" if sound.missing else "read"


def test_a_few_damaged_files_of_each_kind_crash_nothing(tmp_path: Path) -> None:
    for seed, kind in enumerate([*BY_LIBSNDFILE, *BY_FFMPEG]):
        (tmp_path / "a").write_bytes(mutations(seed)(written(kind, speechlike(1.0))))
        assert tried(tmp_path / "a") in ("read", "told", "refused")


@pytest.mark.slow
def test_thousands_of_damaged_files_crash_nothing(tmp_path: Path, capsys) -> None:
    """2,100 files; prints how many were read, told of, refused, and the longest time and most memory that one took."""
    import resource

    counts: dict[str, int] = {}
    slowest, per_kind = 0.0, 60
    for kind in KINDS:
        content = written(kind, speechlike(1.5))
        for seed in range(per_kind):
            (tmp_path / "a").write_bytes(mutations(seed)(content))
            began = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = tried(tmp_path / "a")
            slowest = max(slowest, time.perf_counter() - began)
            counts[found] = counts.get(found, 0) + 1
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    total = sum(counts.values())
    with capsys.disabled():
        print(f"\n{total} damaged files of {len(KINDS)} kinds: {counts}, slowest {slowest:.2f} s, {most} MB")
    assert total >= 2000 and slowest < 20 and most < 2000
