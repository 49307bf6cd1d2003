"""Sounds of clients, decoded apart: hostile ones take their process and nothing else."""

import io
import os
import signal
import struct
import tempfile
import zipfile

import numpy as np
import pytest
import soundfile

from malsori.errors import AudioError
from malsori.serve.decoding import SoundDecoder
from malsori.serve.settings import ServeSettings

RATE = 16_000


def sound(form: str = "WAV", channels: int = 1, seconds: float = 1.0, subtype: str | None = None, fill=None) -> bytes:
    """A sound of noise, as a file's content."""
    samples = np.random.default_rng(0).normal(0, 0.1, (round(seconds * RATE), channels))
    samples = samples if fill is None else np.full_like(samples, fill)
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format=form, subtype=subtype)
    return content.getvalue()


def patched(content: bytes, place: int, form: str, value: int) -> bytes:
    """The content with one number of its header replaced."""
    return content[:place] + struct.pack(form, value) + content[place + struct.calcsize(form) :]


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.wav", b"\0" * 10_000_000)
    return content.getvalue()


#: What clients send that is no sound, lies, or explodes.
HOSTILE = {
    "empty": b"",
    "zip": zipped(),
    "html": b"<!doctype html><html><script>alert(1)</script></html>",
    "zeros": b"\0" * 100_000,
    "playlist of a file": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
    "playlist of an address": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "list of files": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "a sound of NaN": sound(subtype="FLOAT", fill=np.nan),
    "cut after its header": sound()[:44],
    "WAV of a rate of 4 GHz": patched(sound(), 24, "<I", 0xFFFFFFFF),
    "WAV of a rate of 0": patched(sound(), 24, "<I", 0),
    "WAV of 0 channels": patched(sound(), 22, "<H", 0),
    "WAV of 65535 channels": patched(sound(), 22, "<H", 0xFFFF),
    "FLAC that claims ten hours": sound("FLAC")[:21] + b"\xf0\x22\x55\x10\x00" + sound("FLAC")[26:],
}


@pytest.fixture(scope="module")
def decoder():
    """One process, of little memory and time."""
    settings = ServeSettings(decoders=1, decode_seconds=5, max_sound_seconds=20, decode_memory_mb=700)
    decoder = SoundDecoder(settings)
    yield decoder
    decoder.close()


def decode(decoder, content: bytes):
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return decoder.decode(file, RATE)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_sound_is_refused_or_read_and_the_next_one_is_decoded(decoder, kind):
    try:
        found = decode(decoder, HOSTILE[kind])
        assert np.isfinite(found.wave).all() and found.missing
    except AudioError as error:
        assert str(error).startswith("the sound") and "/dev" not in str(error) and "passwd" not in str(error)
    assert len(decode(decoder, sound()).wave) == RATE


def test_many_channels_become_one_and_the_wave_is_exact(decoder):
    content = sound(channels=64, fill=0.25)
    np.testing.assert_allclose(decode(decoder, content).wave, 0.25, atol=1e-4)


def test_a_long_sound_is_refused_before_it_is_decoded_to_its_end(decoder):
    with pytest.raises(AudioError, match="20 s, the longest"):
        decode(decoder, sound("FLAC", seconds=3600, fill=0.0))  # a small file


def test_a_process_that_dies_is_replaced():
    deaths = []
    decoder = SoundDecoder(ServeSettings(decoders=1), lambda: deaths.append(1))
    process = decoder._idle.queue[0]._process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(AudioError, match="broke down"):
        decode(decoder, sound())
    assert len(decode(decoder, sound()).wave) == RATE and deaths == [1]
    decoder.close()
