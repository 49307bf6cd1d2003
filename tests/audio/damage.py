"""Sound in every container and codec that the tests write, and ways to damage it."""

import io
import itertools
import struct
from collections.abc import Callable

import numpy as np

RATE = 16000

#: Name → libsndfile's container and subtype.
BY_LIBSNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "wav8": ("WAV", "PCM_U8"),
    "wav24": ("WAVEX", "PCM_24"),
    "wav_float": ("WAV", "FLOAT"),
    "wav_double": ("WAV", "DOUBLE"),
    "wav_ulaw": ("WAV", "ULAW"),
    "wav_adpcm": ("WAV", "MS_ADPCM"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_24"),
    "aiff": ("AIFF", "PCM_16"),
    "aiff24": ("AIFF", "PCM_24"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "flac24": ("FLAC", "PCM_24"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}

#: Name → FFmpeg's container and codec.
BY_FFMPEG = {
    "m4a": ("ipod", "aac"),
    "mov": ("mov", "pcm_s16le"),
    "alac": ("ipod", "alac"),
    "3gp": ("3gp", "aac"),
    "aac": ("adts", "aac"),
    "webm": ("webm", "libopus"),
    "mkv": ("matroska", "flac"),
    "mka": ("matroska", "aac"),
    "avi": ("avi", "pcm_s16le"),
    "wma": ("asf", "wmav2"),
    "flv": ("flv", "libmp3lame"),
    "ts": ("mpegts", "aac"),
    "ac3": ("ac3", "ac3"),
    "mp2": ("mp2", "mp2"),
    "ogg_flac": ("ogg", "flac"),
    "wv": ("wv", "wavpack"),
    "tta": ("tta", "tta"),
}

LOSSLESS = {"wav", "wav24", "wav_float", "wav_double", "rf64", "w64", "aiff", "aiff24", "au", "caf", "flac", "flac24"}


def speechlike(seconds: float = 2.0, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return (samples, channels): a climbing tone in humps with a little noise."""
    time = np.arange(round(rate * seconds)) / rate
    tone = 0.4 * np.sin(2 * np.pi * (150 + 90 * time) * time) * (0.6 + 0.4 * np.sin(5 * time))
    noise = np.random.default_rng(seed).normal(0, 0.01, (len(time), channels))
    return (tone[:, None] + noise).astype(np.float32)


def written(name: str, wave: np.ndarray, rate: int = RATE) -> bytes:
    """Return a wave (samples, channels) as the content of a file of one of the kinds above."""
    if name in BY_LIBSNDFILE:
        import soundfile

        container, subtype = BY_LIBSNDFILE[name]
        buffer = io.BytesIO()
        soundfile.write(buffer, wave, rate, format=container, subtype=subtype)
        return buffer.getvalue()
    return by_ffmpeg([wave], rate, *BY_FFMPEG[name])


def by_ffmpeg(tracks: list[np.ndarray], rate: int, container: str, codec: str, default: int = 0) -> bytes:
    """Return tracks as a file of FFmpeg's; `default` is the track that players take."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        streams = []
        for number, wave in enumerate(tracks):
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[wave.shape[1]]
            hertz = {"libopus": 48000, "ac3": 48000, "wmav2": 44100, "libmp3lame": 44100}.get(codec, rate)
            stream = file.add_stream(codec, rate=hertz, layout=layout)
            if codec == "wmav2":
                stream.bit_rate = 64000
            if len(tracks) > 1:
                stream.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
            streams.append((stream, layout, hertz, wave))
        for stream, layout, hertz, wave in streams:
            size = stream.frame_size or 1024
            frames = av.AudioResampler(format=stream.format, layout=layout, rate=hertz, frame_size=size)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave.T), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for part in [*frames.resample(frame), *frames.resample(None), None]:
                file.mux(stream.encode(part))
    return buffer.getvalue()


def cut(content: bytes, share: float) -> bytes:
    return content[: round(len(content) * share)]


def mutations(seed: int) -> Callable[[bytes], bytes]:
    """Return one of the ways to damage a file's bytes, drawn by a seed."""
    random = np.random.default_rng(seed)

    def flip(content: bytearray) -> None:
        for place in random.integers(0, len(content), random.integers(1, 30)):
            content[place] ^= int(random.integers(1, 256))

    def shorten(content: bytearray) -> None:
        del content[random.integers(0, len(content)) :]

    def behead(content: bytearray) -> None:
        del content[: random.integers(0, len(content) // 2)]

    def hole(content: bytearray) -> None:
        begin = random.integers(0, len(content))
        del content[begin : begin + random.integers(1, 2000)]

    def blank(content: bytearray) -> None:
        begin = int(random.integers(0, len(content)))
        end = min(len(content), begin + int(random.integers(1, 2000)))
        content[begin:end] = bytes(end - begin)

    def lie(content: bytearray) -> None:
        """Write an absurd number somewhere in the header."""
        place = int(random.integers(4, min(len(content) - 8, 200)))
        form = str(random.choice(["<I", ">I", "<H", ">H", "<Q", ">Q"]))
        most = (1 << 8 * struct.calcsize(form)) - 1
        value = [0, 1, most, most // 2, most // 2 + 1, min(most, 1_000_000)][random.integers(6)]
        content[place : place + struct.calcsize(form)] = struct.pack(form, value)

    def double(content: bytearray) -> None:
        content += content[random.integers(0, len(content)) :]

    ways = [flip, shorten, behead, hole, blank, lie, double]
    chosen = [ways[number] for number in random.integers(0, len(ways), random.choice([1, 1, 1, 2]))]

    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        for way in chosen:
            if len(changed) > 300:
                way(changed)
        return bytes(changed)

    return damage


KINDS = list(itertools.chain(BY_LIBSNDFILE, BY_FFMPEG))
