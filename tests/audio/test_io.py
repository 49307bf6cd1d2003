"""Sound files: what is written comes back, and what cannot be read says so in one line."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from malsori.audio.io import audio_info, header_seconds, load_audio, save_audio, stream_audio
from malsori.audio.resampling import resample
from malsori.errors import AudioError
from malsori.files import atomic_file

RATE = 16000


def noise(seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, round(seconds * RATE)).astype(np.float32)


def sine(hertz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_wave_comes_back_within_half_a_step_of_16_bits(tmp_path: Path, suffix: str) -> None:
    save_audio(tmp_path / f"a{suffix}", noise(), RATE)
    assert np.abs(load_audio(tmp_path / f"a{suffix}", RATE) - noise()).max() <= 0.5 / 32768 + 1e-7


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_what_was_quantized_once_comes_back_bit_for_bit(tmp_path: Path, suffix: str) -> None:
    every = (np.arange(-32768, 32768) / 32768).astype(np.float32)
    save_audio(tmp_path / f"a{suffix}", every, RATE)
    assert np.array_equal(load_audio(tmp_path / f"a{suffix}"), every)


def test_ogg_keeps_the_length_and_sounds_alike(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.ogg", sine(440, RATE), RATE)
    back = load_audio(tmp_path / "a.ogg")
    assert len(back) == RATE and np.abs(back - sine(440, RATE)).mean() < 0.02


def test_a_wave_beyond_full_scale_is_clipped_and_does_not_wrap_round(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", np.array([1.7, -1.7, 0.0], dtype=np.float32), RATE)
    assert load_audio(tmp_path / "a.wav").tolist() == [32767 / 32768, -1.0, 0.0]


@pytest.mark.parametrize(("container", "subtype"), [("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS"), ("AIFF", "PCM_24")])
def test_other_kinds_that_libsndfile_knows_are_read(tmp_path: Path, container: str, subtype: str) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.sound", sine(440, RATE), RATE, format=container, subtype=subtype)
    wave = load_audio(tmp_path / "a.sound", RATE)
    assert abs(len(wave) - RATE) < 0.1 * RATE
    assert abs(np.abs(np.fft.rfft(wave[4000:12000])).argmax() * RATE / 8000 - 440) <= 2


def test_loading_averages_channels(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "two.wav", np.stack([noise(seed=1), noise(seed=2)], axis=1), RATE, subtype="FLOAT")
    assert np.allclose(load_audio(tmp_path / "two.wav"), (noise(seed=1) + noise(seed=2)) / 2, atol=1e-6)
    assert audio_info(tmp_path / "two.wav").channels == 2


@pytest.mark.parametrize("wanted", [8000, 22050, 48000])
def test_resampling_keeps_pitch_level_and_seconds(wanted: int) -> None:
    resampled = resample(sine(1000, RATE), RATE, wanted)
    assert resampled.dtype == np.float32 and abs(len(resampled) - wanted) <= 1
    middle = slice(wanted // 10, -wanted // 10)
    assert np.abs(resampled[middle] - sine(1000, wanted)[: len(resampled)][middle]).max() < 1e-3


@pytest.mark.parametrize(("suffix", "codec"), [(".m4a", "aac"), (".mp4", "aac"), (".webm", "libopus")])
def test_compressed_files_from_phones_and_browsers_are_read(tmp_path: Path, suffix: str, codec: str) -> None:
    write_by_av(tmp_path / f"a{suffix}", codec, sine(440, 48000))
    wave = load_audio(tmp_path / f"a{suffix}", RATE)
    assert abs(len(wave) / RATE - 1.0) < 0.05
    spectrum = np.abs(np.fft.rfft(wave[2000:14000] * np.hanning(12000)))
    assert abs(spectrum.argmax() * RATE / 12000 - 440) < 2
    assert audio_info(tmp_path / f"a{suffix}").sample_rate == 48000


def write_by_av(path: Path, codec: str, wave: np.ndarray) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.rate = 48000
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=48000, frame_size=stream.frame_size)
        for part in [*resampler.resample(frame), None]:
            for packet in stream.encode(part):
                container.mux(packet)


def a_missing_file(path: Path) -> None:
    pass


def a_folder(path: Path) -> None:
    path.mkdir()


def a_file_of_no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def a_text_file(path: Path) -> None:
    path.write_text("이것은 소리가 아니라 글입니다.\n" * 20, encoding="utf-8")


def an_empty_wav(path: Path) -> None:
    save_audio(path, np.zeros(0, dtype=np.float32), RATE)


def a_wav_with_nan(path: Path) -> None:
    import soundfile

    soundfile.write(path, np.array([0.0, np.nan, 0.5], dtype=np.float32), RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (a_missing_file, "no such file"),
        (a_folder, "is a folder"),
        (a_file_of_no_bytes, "0 bytes"),
        (a_text_file, "not a sound file"),
        (an_empty_wav, "holds 0 samples"),
        (a_wav_with_nan, "1 samples are NaN"),
    ],
)
def test_an_unusable_file_is_named_in_one_line(tmp_path: Path, plant: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "bad.wav"
    plant(path)
    with pytest.raises(AudioError, match=re.escape(said)) as caught:
        load_audio(path, RATE)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_wav_written_by_a_pipe_that_knew_no_length_is_read(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", noise(), RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert len(load_audio(tmp_path / "a.wav")) == len(noise())


@pytest.mark.parametrize(("name", "wave"), [("a.xyz", noise()), ("a.wav", np.array([np.nan], dtype=np.float32))])
def test_what_cannot_be_written_leaves_no_file(tmp_path: Path, name: str, wave: np.ndarray) -> None:
    with pytest.raises(AudioError, match=name):
        save_audio(tmp_path / name, wave, RATE)
    assert not list(tmp_path.iterdir())


def test_a_file_whose_writing_breaks_off_keeps_what_stood_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "before"


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("seconds", [0.25, 0.5, 9.0])
def test_a_sound_comes_in_pieces_as_it_comes_whole(tmp_path: Path, rate: int, seconds: float) -> None:
    import soundfile

    wave = np.random.default_rng(0).normal(0, 0.1, (rate, 2))
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    pieces = list(stream_audio(tmp_path / "a.wav", 16000, seconds))
    assert max(map(len, pieces)) <= 16000 * seconds + 8000
    np.testing.assert_allclose(np.concatenate(pieces), load_audio(tmp_path / "a.wav", 16000), atol=1e-5)


def test_an_m4a_comes_in_pieces_too(tmp_path: Path) -> None:
    write_by_av(tmp_path / "a.m4a", "aac", sine(440, 48000))
    pieces = list(stream_audio(tmp_path / "a.m4a", 16000, 0.2))
    assert len(pieces) > 2
    np.testing.assert_allclose(np.concatenate(pieces), load_audio(tmp_path / "a.m4a", 16000), atol=1e-4)


def test_a_header_tells_how_long_a_sound_is_and_nothing_is_decoded(tmp_path: Path) -> None:
    wave = np.zeros(12000, dtype=np.float32)
    for name in ("a.wav", "a.flac", "a.ogg"):
        save_audio(tmp_path / name, wave, 16000)
        assert header_seconds(tmp_path / name) == pytest.approx(0.75)
    (tmp_path / "text.wav").write_bytes(b"no sound at all, but enough bytes to look at")
    assert header_seconds(tmp_path / "text.wav") is None
    with pytest.raises(AudioError, match="no such file"):
        header_seconds(tmp_path / "nowhere.wav")


def test_what_needs_ffmpeg_says_what_to_install_where_it_is_missing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "voice.m4a").write_bytes(b"\0\0\0 ftypM4A " + bytes(200))
    with pytest.raises(AudioError, match=r"voice\.m4a: .*damaged, or .* needs av, .*pip install 'malsori\[ffmpeg\]'"):
        load_audio(tmp_path / "voice.m4a")
    save_audio(tmp_path / "voice.wav", np.zeros(100, dtype=np.float32), 16000)
    assert len(load_audio(tmp_path / "voice.wav")) == 100
