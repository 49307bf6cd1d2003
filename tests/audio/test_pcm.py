"""Sound as a stream of bytes: raw or a WAV, in whatever portions, the same samples; what is none is refused."""

import io
import struct

import numpy as np
import pytest
import soundfile

from malsori.audio.pcm import PcmStream
from malsori.errors import AudioError

WAVE = np.random.default_rng(0).uniform(-0.9, 0.9, 1000).astype(np.float32)


class Trickle(io.BytesIO):
    """Bytes that come a few at a time, as through a pipe."""

    def read1(self, _size: int | None = -1, /) -> bytes:
        return super().read1(7)


def wav(subtype: str = "PCM_16", channels: int = 1, rate: int = 22050) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.tile(WAVE[:, None], channels), rate, subtype, format="WAV")
    return file.getvalue()


def raw() -> bytes:
    return (WAVE * 32768).round().astype("<i2").tobytes()


def read(data: bytes, rate: int | None = None) -> tuple[int, np.ndarray]:
    stream = PcmStream(Trickle(data), rate)
    return stream.sample_rate, np.concatenate([np.zeros(0, np.float32), *stream])


@pytest.mark.parametrize("rate", [None, 8000])
def test_raw_samples_come_as_they_are(rate: int | None) -> None:
    found, wave = read(raw(), rate)
    assert found == (rate or 16000) and wave.dtype == np.float32
    np.testing.assert_allclose(wave, WAVE, atol=4e-5)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_says_how_its_samples_lie(subtype: str, channels: int) -> None:
    rate, wave = read(wav(subtype, channels))
    assert rate == 22050
    np.testing.assert_allclose(wave, WAVE, atol=4e-5)


def test_what_stands_behind_a_wavs_samples_is_not_heard() -> None:
    rate, wave = read(wav() + b"LIST\x08\x00\x00\x00INFOabcd")
    assert (rate, len(wave)) == (22050, len(WAVE))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_that_is_still_being_written_is_read_to_its_end(size: int) -> None:
    data = wav()
    place = data.index(b"data") + 4
    assert len(read(data[:place] + struct.pack("<I", size) + data[place + 4 :])[1]) == len(WAVE)


def test_nothing_is_no_samples() -> None:
    assert len(read(b"")[1]) == 0


@pytest.mark.parametrize(
    ("data", "rate", "message"),
    [
        (raw()[:-1], None, "ends within a sample of 2 bytes, 1 of which came"),
        (wav("PCM_24"), None, "24-bit samples of kind 1, 1 channels, 22050 Hz; 16-bit, 32-bit and float"),
        (wav("ULAW"), None, "8-bit samples of kind 7"),
        (wav()[:36], None, "no samples: its data chunk is missing"),
        (wav(), 16000, "is at 22050 Hz, not at 16000: leave the rate out"),
    ],
)
def test_what_is_no_sound_is_refused(data: bytes, rate: int | None, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read(data, rate)
