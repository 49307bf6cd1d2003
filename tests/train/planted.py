"""A corpus that can be learnt by heart: a few buzzing sentences, prepared as any other, with durations planted."""

from pathlib import Path

import numpy as np

SENTENCES = (
    "안녕하세요.",
    "오늘은 날씨가 참 좋네요.",
    "내일 아침에 다시 만나요.",
    "저는 책을 읽고 있어요.",
    "점심은 무엇을 드셨어요?",
    "커피 한 잔 주세요.",
    "바다에 가고 싶어요.",
    "우리 같이 걸어요.",
)


def plant_corpus(folder: Path) -> Path:
    """Write recordings below a folder, prepare them at 22.05 kHz, and return the corpus folder."""
    from malsori.audio.io import save_audio
    from malsori.corpus.ground_truth import PrepareOptions, prepare

    source, rate = folder / "recordings", 22050
    source.mkdir(parents=True)
    lines = []
    for number, sentence in enumerate(SENTENCES):
        save_audio(source / "wavs" / f"u{number}.wav", _buzz(0.16 * len(sentence), 120.0 + 11 * number, rate), rate)
        lines.append(f"u{number}|{sentence}|{sentence}\n")
    (source / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    for split, names in (("train", "u0 u1 u2 u3 u4 u5"), ("dev", "u6"), ("test", "u7")):
        (source / "splits").mkdir(exist_ok=True)
        (source / "splits" / f"{split}.txt").write_text(names.replace(" ", "\n") + "\n", encoding="utf-8")
    prepare(source, folder / "corpus", PrepareOptions(layout="ljspeech", workers=1))
    _plant_durations(folder / "corpus")
    return folder / "corpus"


def _buzz(seconds: float, hertz: float, rate: int) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(hertz * (1 + 0.2 * np.sin(2 * np.pi * time / seconds))) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    return (0.15 * voice + np.random.default_rng(int(hertz)).normal(0, 1e-4, len(time))).astype(np.float32)


def _plant_durations(path: Path) -> None:
    """Give every token of every utterance its share of the frames, whole and summing to them."""
    from malsori.corpus.folder import add_ground_truth, load_corpus
    from malsori.text.frontend import Frontend

    corpus, frontend = load_corpus(path), Frontend()
    for cut in (cut for cuts in corpus.cuts.values() for cut in cuts):
        ids = np.asarray(frontend.ids(frontend.read(cut.supervisions[0].text)), np.int32)
        frames = len(corpus.ground_truth(cut)["mel"])
        ends = np.linspace(0, frames, len(ids) + 1).round().astype(np.int32)
        add_ground_truth(corpus.ground_truth_path(cut), {"durations": np.diff(ends).astype(np.int32), "token_ids": ids})
