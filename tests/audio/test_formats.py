"""What is written as sound comes back, whole and as it comes, in every format that is written."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from malsori.audio.formats import OUTPUT_FORMATS, encode, encode_stream, require_format
from malsori.audio.io import load_audio, save_audio
from malsori.errors import AudioError

FILES = [name for name in OUTPUT_FORMATS if name != "pcm"]
COMPRESSED = [name for name in FILES if name not in ("wav", "flac")]


def tones(rate: int, seconds: float = 2.0) -> np.ndarray:
    """Return a tone that climbs, in a hump: any shift of the copy in time shows."""
    time = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.hanning(len(time)) * np.sin(2 * np.pi * (200 + 150 * time) * time)).astype(np.float32)


def likeness(wave: np.ndarray, copy: np.ndarray) -> float:
    """Return the correlation of two waves sample by sample, over the length they share."""
    shared = min(len(wave), len(copy))
    return float(np.corrcoef(wave[:shared], copy[:shared])[0, 1])


def delay(wave: np.ndarray, copy: np.ndarray) -> int:
    """Return by how many samples the copy comes late."""
    size = 2 * max(len(wave), len(copy))
    return int(np.fft.irfft(np.fft.rfft(copy, size) * np.conj(np.fft.rfft(wave, size))).argmax())


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
@pytest.mark.parametrize("name", FILES)
def test_what_is_written_comes_back_in_place_and_at_its_length(tmp_path: Path, name: str, rate: int) -> None:
    (tmp_path / f"a.{name}").write_bytes(encode(tones(rate), rate, name))
    back = load_audio(tmp_path / f"a.{name}", rate)
    lead = 1024 if name == "aac" else 0  # ADTS cannot tell its delay
    assert lead <= len(back) - 2 * rate <= lead + (1024 if name in ("aac", "m4a") else 0)  # the last frame is filled up
    assert likeness(tones(rate), back[lead:]) > 0.999


@pytest.mark.parametrize("name", OUTPUT_FORMATS)
def test_a_file_gets_what_its_ending_names_in_either_case(tmp_path: Path, name: str) -> None:
    save_audio(tmp_path / f"말.{name.upper()}", tones(24000), 24000)
    content = (tmp_path / f"말.{name.upper()}").read_bytes()
    begins = {"wav": b"RIFF", "flac": b"fLaC", "ogg": b"OggS", "opus": b"OggS", "mp3": b"\xff", "aac": b"\xff\xf1"}
    assert content[4:8] == b"ftyp" if name == "m4a" else content.startswith(begins.get(name, b""))


def test_pcm_is_the_bare_samples() -> None:
    assert encode(np.array([0.5, -1.0, 1.0]), 24000, "pcm") == b"\x00\x40\x00\x80\xff\x7f"


@pytest.mark.parametrize("name", [name for name in FILES if OUTPUT_FORMATS[name].streams])
def test_sound_is_written_as_it_comes_like_whole(tmp_path: Path, name: str) -> None:
    parts = np.array_split(tones(22050), [1, 700, 30000])
    chunks = list(encode_stream(iter(parts), 22050, name))
    assert any(map(len, chunks[:-1])), "nothing came before the end"
    (tmp_path / f"a.{name}").write_bytes(b"".join(chunks))
    back = load_audio(tmp_path / f"a.{name}", 22050)
    late = delay(tones(22050), back)
    assert late < 2500 and likeness(tones(22050), back[late:]) > 0.999  # a stream cannot say how much to skip
    assert len(back) - late >= 44100 - 1


def test_pcm_comes_in_parts_as_it_comes_whole() -> None:
    parts = np.array_split(tones(22050), 7)
    assert b"".join(encode_stream(parts, 22050, "pcm")) == encode(tones(22050), 22050, "pcm")


def test_an_m4a_is_not_streamed() -> None:
    with pytest.raises(AudioError, match="m4a: cannot be written as it comes; the formats that can are wav"):
        encode_stream([], 16000, "m4a")


def test_a_long_wave_goes_into_an_ogg_in_blocks() -> None:
    """libsndfile's Vorbis keeps what it is handed on the stack: 4 million samples at once end the process."""
    import soundfile

    content = encode(np.zeros(4_000_000, dtype=np.float32), 8000, "ogg")
    assert soundfile.info(io.BytesIO(content)).frames == 4_000_000


@pytest.mark.parametrize(
    ("name", "said"),
    [("a.xyz", "cannot write 'xyz' as sound; the formats are wav, flac"), ("noise", "cannot write 'noise'")],
)
def test_an_unknown_format_is_refused_before_anything_is_written(name: str, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        require_format(name)


def test_what_needs_the_extra_is_refused_where_it_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"talk\.m4a: writing m4a needs av, .*pip install 'malsori\[ffmpeg\]'"):
        require_format("talk.m4a")
    assert encode(tones(16000), 16000, "mp3")


def test_a_wave_with_an_infinite_sample_is_refused() -> None:
    with pytest.raises(AudioError, match="mp3: cannot write a wave"):
        encode(np.array([0.0, np.inf]), 16000, "mp3")


@pytest.mark.parametrize("name", OUTPUT_FORMATS)
def test_no_samples_make_no_trouble(name: str) -> None:
    assert isinstance(encode(np.zeros(0), 16000, name), bytes)
