"""Durations from a recogniser: they sum to the mel, carry the phonemes of the front-end, and say what was left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from malsori.asr import encode
from malsori.config import RECOGNITION_AUDIO, AudioConfig
from malsori.corpus.durations import add_durations
from malsori.corpus.folder import load_corpus
from malsori.corpus.ground_truth import PrepareOptions, prepare
from malsori.models.conformer import Conformer, ConformerConfig
from malsori.pretrained.folder import ModelFacts, SavedModel
from malsori.text.frontend import Frontend
from malsori.text.symbols import JAMO, PHONEMES

from .conftest import write_emotiontts

SIZES = ConformerConfig(
    hidden_size=12, num_layers=2, num_heads=2, kernel_size=5, subsampling_channels=4, phoneme_ctc_layer=1
)
SENTENCES = ("나무가 높다.", "노래를 정말 잘하시네요.", "우리 같이 걸어요.")
MORE = (*SENTENCES, "바다에 가고 싶어요.")


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> Frontend:
    """A front-end that needs no morphological analyser, the same for the corpus and the test."""
    frontend = Frontend(morphology=False)
    monkeypatch.setattr("malsori.corpus.durations.Frontend", lambda *_words: frontend)
    return frontend


@pytest.fixture(scope="module")
def recognizer() -> SavedModel:
    """A recogniser that has learnt nothing: whatever it hears, the durations must fit."""
    torch.manual_seed(0)
    audio = RECOGNITION_AUDIO
    facts = ModelFacts(system="conformer", model=SIZES.model_dump(), audio=audio, audio_fingerprint=audio.fingerprint())
    return SavedModel(facts, {"jamo": JAMO, "phonemes": PHONEMES}, Conformer(SIZES).eval())


@pytest.mark.parametrize("audio", [AudioConfig(), RECOGNITION_AUDIO], ids=["22050", "16000"])
def test_every_utterance_gets_durations_that_fit_its_mel_and_its_text(
    recognizer: SavedModel, reader: Frontend, tmp_path: Path, audio: AudioConfig
) -> None:
    write_emotiontts(tmp_path / "recordings", SENTENCES)
    prepare(tmp_path / "recordings", tmp_path / "out", PrepareOptions(audio=audio, workers=1))
    corpus, seen = load_corpus(tmp_path / "out"), []
    before = {cut.id: corpus.ground_truth(cut) for split in corpus.cuts.values() for cut in split}
    assert add_durations(corpus, recognizer, lambda cuts: (seen.append(cut.id) or cut for cut in cuts)) == {}
    assert sorted(seen) == sorted(before)
    for cut in (cut for split in corpus.cuts.values() for cut in split):
        truth, reading = corpus.ground_truth(cut), reader.read(cut.supervisions[0].text)
        assert PHONEMES.decode(truth["token_ids"].tolist()) == list(reading.phonemes)
        assert truth["durations"].sum() == len(truth["mel"]) and truth["durations"].dtype == np.int32
        sounded = np.array(reading.phoneme_words) >= 0
        assert (truth["durations"][sounded] >= 1).all() and (truth["durations"] >= 0).all()
        assert all(np.array_equal(truth[name], array) for name, array in before[cut.id].items())


@pytest.mark.parametrize("scratch", [False, True], ids=["recogniser", "scratch"])
def test_a_broken_off_alignment_goes_on_and_ends_in_the_same_bytes(
    recognizer: SavedModel, tmp_path: Path, scratch: bool
) -> None:
    write_emotiontts(tmp_path / "recordings", SENTENCES)
    for name in ("unbroken", "broken"):
        prepare(tmp_path / "recordings", tmp_path / name, PrepareOptions(audio=RECOGNITION_AUDIO, workers=1))
    model = None if scratch else recognizer
    assert add_durations(load_corpus(tmp_path / "unbroken"), model) == {}
    add_durations(load_corpus(tmp_path / "broken"), model, lambda cuts: cuts[:2])
    add_durations(load_corpus(tmp_path / "broken"), model)
    for path in sorted((tmp_path / "unbroken" / "ground_truth").iterdir()):
        assert path.read_bytes() == (tmp_path / "broken" / "ground_truth" / path.name).read_bytes()


def test_what_is_aligned_is_not_heard_again_but_by_another_recognizer_or_with_more_recordings(
    recognizer: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    original = encode.encode
    monkeypatch.setattr(encode, "encode", lambda *arguments: encoded.append(1) or original(*arguments))
    options = PrepareOptions(audio=RECOGNITION_AUDIO, workers=1)
    other = replace(recognizer, facts=recognizer.facts.model_copy(update={"trained": {"steps": 9}}))
    steps = [(SENTENCES, recognizer, 3), (SENTENCES, recognizer, 0), (SENTENCES, other, 3), (MORE, other, 4)]
    for sentences, model, times in steps:
        write_emotiontts(tmp_path / "recordings", sentences)
        prepare(tmp_path / "recordings", tmp_path / "out", options)
        add_durations(load_corpus(tmp_path / "out"), model)
        assert len(encoded) == times
        encoded.clear()


def test_what_cannot_be_aligned_is_counted_by_reason_and_the_rest_goes_on(
    recognizer: SavedModel, tmp_path: Path
) -> None:
    write_emotiontts(tmp_path / "recordings", SENTENCES)
    prepare(tmp_path / "recordings", tmp_path / "out", PrepareOptions(audio=RECOGNITION_AUDIO, workers=1))
    corpus = load_corpus(tmp_path / "out")
    cuts = {cut.supervisions[0].text: cut for split in corpus.cuts.values() for cut in split}
    texts = {
        "노래를 정말 잘하시네요.": "노래를 정말 잘하시네요. " * 30,
        "우리 같이 걸어요.": "ก๊ก",
    }  # Thai has no reading
    for text, other in texts.items():
        cuts[text].supervisions[0].text = other
    skipped = add_durations(corpus, recognizer)
    assert skipped == {
        "too short for its text": [cuts["노래를 정말 잘하시네요."].id],
        "text cannot be read": [cuts["우리 같이 걸어요."].id],
    }
    assert {text for text, cut in cuts.items() if "durations" in corpus.ground_truth(cut)} == {"나무가 높다."}
