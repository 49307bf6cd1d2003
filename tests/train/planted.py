"""A corpus that can be learnt by heart: a few buzzing sentences with their ground truth, written as `prepare` would."""

from pathlib import Path

import numpy as np

from malsori.files import write_json

SENTENCES = {
    "train": (
        "안녕하세요",
        "오늘은 날씨가 좋네요",
        "내일 다시 만나요",
        "책을 읽고 있어요",
        "무엇을 드셨어요",
        "차 한 잔 주세요",
    ),
    "dev": ("바다에 가고 싶어요", "우리 같이 걸어요"),
}


def plant_corpus(path: Path, copies: int = 1) -> Path:
    """Write a prepared corpus of eight utterances, or copies of them, with durations, and return its folder."""
    from malsori.config import AudioConfig
    from malsori.corpus.folder import FORMAT, write_cuts

    audio = AudioConfig()
    said = [(split, text) for split, texts in SENTENCES.items() for text in texts * copies]
    cuts = [_plant(path, f"u{number}", split, text, number) for number, (split, text) in enumerate(said)]
    write_cuts(path / "cuts.jsonl.gz", cuts)
    facts = {"format": FORMAT, "source": "planted", "audio": audio.model_dump(mode="json"), "speakers": ["kim"]}
    write_json(path / "corpus.json", facts)
    return path


def _plant(path: Path, name: str, split: str, text: str, number: int):
    import torch
    from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

    from malsori.audio.io import save_audio
    from malsori.audio.mel import log_mel
    from malsori.config import AudioConfig
    from malsori.corpus.folder import write_ground_truth

    audio = AudioConfig()
    frames = 11 * len(text)
    wave, pitch = _buzz(frames * audio.hop_samples, 120.0 + 11 * number, audio.sample_rate)
    mel = log_mel(torch.from_numpy(wave)[None], audio)[0].numpy()
    ends = np.linspace(0, frames, 2 * len(text) + 1).round().astype(np.int32)
    truth = {
        "mel": mel,
        "pitch_hz": pitch[:: audio.hop_samples].astype(np.float32),
        "energy": np.exp(mel).mean(1),
        "durations": np.diff(ends).astype(np.int32),
        "token_ids": np.array([3 + ord(character) % 40 for character in text for _ in range(2)], np.int32),
    }
    save_audio(path / "wave" / f"{name}.flac", wave, audio.sample_rate)
    write_ground_truth(path / "ground_truth" / f"{name}.safetensors", truth, "planted")
    seconds = len(wave) / audio.sample_rate
    source = AudioSource(type="file", channels=[0], source=f"wave/{name}.flac")
    recording = Recording(name, [source], audio.sample_rate, len(wave), seconds)
    custom = {"written": text, "split": split}
    supervision = SupervisionSegment(name, name, 0.0, seconds, 0, text, "ko", "kim", custom=custom)
    where = {"ground_truth": f"ground_truth/{name}.safetensors"}
    return MonoCut(name, 0.0, seconds, 0, [supervision], recording=recording, custom=where)


def _buzz(samples: int, hertz: float, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a buzz (samples,) and its pitch in Hz at each sample."""
    time = np.arange(samples) / rate
    pitch = hertz * (1 + 0.2 * np.sin(2 * np.pi * 1.3 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    return (0.15 * voice + np.random.default_rng(int(hertz)).normal(0, 1e-4, samples)).astype(np.float32), pitch
