"""Evaluation on a corpus that the built-in voice speaks itself, so that much is known of the answers."""

import importlib.machinery
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from malsori.cli import run
from malsori.corpus.folder import Corpus, load_corpus
from malsori.errors import CorpusError, MissingExtraError, OptionError, TextError
from malsori.evaluation.corpus import evaluate
from malsori.evaluation.page import save_evaluation
from malsori.evaluation.texts import GroupedText, evaluate_texts, read_grouped_texts
from malsori.text.frontend import Frontend
from malsori.tts.voice import Voice, load_voice

HARD = Path(__file__).parent / "data" / "hard.txt"
TEXTS = {
    "train": ("아침에는 따뜻한 차를 마셔요.", "도서관에서 책을 빌렸어요."),
    "dev": ("내일은 비가 올까요?",),
    "test": ("저녁에 친구를 만나기로 했어요.", "새로 산 신발이 조금 커요."),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A prepared corpus whose speaker is the voice's own first speaker."""
    source = tmp_path_factory.mktemp("source")
    voice = load_voice()
    speaker = source / voice.speakers[0]
    for folder in (speaker / "wav", speaker / "transcript", source / "splits"):
        folder.mkdir(parents=True)
    for split, texts in TEXTS.items():
        ids = [f"{split}{number}" for number in range(len(texts))]
        (source / "splits" / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for name, text in zip(ids, texts, strict=True):
            voice.say(text).save(speaker / "wav" / f"{name}.wav")
            (speaker / "transcript" / f"{name}.txt").write_text(text, encoding="utf-8-sig")
    out = source.parent / "corpus"
    assert run(["corpus", "prepare", str(source), str(out), "--workers", "1"]) == 0
    return load_corpus(out)


def test_preparing_a_corpus_gives_durations_that_sum_to_the_frames(corpus):
    for split in corpus.cuts.values():
        for cut in split:
            truth = corpus.ground_truth(cut)
            assert truth["durations"].sum() == len(truth["mel"])
            assert len(truth["durations"]) == len(truth["token_ids"])


def test_a_voice_measured_against_its_own_speech_is_near_it(corpus):
    found = evaluate("fastspeech2-ko", corpus, "dev")  # heard by the built-in recognizer
    assert found.measures["mcd_db"].value < 1.5  # the ends were trimmed and the wave rounded to 16 bits
    assert found.measures["duration_ratio"].value == pytest.approx(1.0, abs=0.15)
    assert found.measures["cer_no_space"].value == pytest.approx(
        found.measures["recordings_cer_no_space"].value, abs=0.35
    )


def test_a_vocoder_copies_better_than_it_would_at_random_and_its_copies_are_heard(corpus, tmp_path):
    found = evaluate("vocos-ko", corpus, recognizer="conformer-ko")
    assert found.measures["mcd_db"].value < 4.0 and found.measures["mel_l1"].value < 0.6
    heard, recorded = (found.measures[name].value for name in ("cer_no_space", "recordings_cer_no_space"))
    assert heard == pytest.approx(recorded, abs=0.35)
    paired = found.measures["cer_no_space_difference"]
    assert paired.value == pytest.approx(heard - recorded) and paired.low <= paired.value <= paired.high
    save_evaluation(found, tmp_path, "vocos-ko")
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 2 * len(found.rows) and page.count("<img") == len(found.rows)


def test_a_recognizer_is_scored_by_summed_counts_with_an_interval(corpus, tmp_path):
    found = evaluate("conformer-ko", corpus)
    card = found.cards["hypotheses"]
    assert card.rates["cer"].reference_length == sum(len(row.text) for row in found.rows)
    measure = found.measures["cer_no_space"]
    assert measure.low <= measure.value <= measure.high
    save_evaluation(found, tmp_path, "conformer-ko")
    saved = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert saved["measures"]["cer_no_space"]["value"] == measure.value
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert page.count("<audio") == len(found.rows)


def test_a_split_that_is_not_there_is_told(corpus):
    with pytest.raises(CorpusError, match="no split 'tset'"):
        evaluate("conformer-ko", corpus, "tset")


def test_evaluate_prints_one_json_object(corpus, capsys):
    assert run(["evaluate", "conformer-ko", "--corpus", str(corpus.path), "--split", "dev", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["utterances"] == 1 and printed["measures"]["cer"]["low"] is None


def test_a_voice_given_durations_takes_as_long_as_they_say(corpus, monkeypatch):
    """Here they say twice as long as the recordings, which are its own speech."""
    read = Corpus.ground_truth

    def slow(self, cut):
        return {name: np.repeat(of, 2) if name != "durations" else 2 * of for name, of in read(self, cut).items()}

    monkeypatch.setattr(
        Corpus, "ground_truth", lambda *of: slow(*of) | {name: read(*of)[name] for name in ("token_ids", "mel")}
    )
    given = ("durations", "pitch", "energy")
    found = evaluate("fastspeech2-ko", corpus, "dev", "conformer-ko", given=given, vocoder="griffin-lim")
    assert found.measures["duration_ratio"].value == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        ("fastspeech2-ko", {"given": ("length",)}, "given: 'length' is none of durations, pitch, energy"),
        ("fastspeech2-ko", {"given": ("pitch",)}, "give durations too"),
        ("vocos-ko", {"given": ("durations",)}, "it takes the recording's mel already"),
        ("conformer-ko", {"given": ("durations",)}, "it makes no speech to judge"),
        ("conformer-ko", {"vocoder": "vocos-ko"}, "vocoder: conformer-ko is a recognizer; it makes no speech"),
        ("vocos-ko", {"vocoder": "griffin-lim"}, "vocoder 'griffin-lim': vocos-ko is a vocoder itself"),
    ],
)
def test_what_a_model_cannot_be_given_is_refused(corpus, model, options, told):
    with pytest.raises(OptionError, match=told):
        evaluate(model, corpus, "dev", **options)


def test_opinions_stand_beside_those_of_the_recordings(corpus, monkeypatch):
    """The networks themselves are an extra's; here one that knows loudness stands for them."""
    module = types.ModuleType("speechmos")
    module.__spec__ = importlib.machinery.ModuleSpec("speechmos", None)
    module.dnsmos = types.SimpleNamespace(run=_loudness)
    monkeypatch.setitem(sys.modules, "speechmos", module)
    measures = evaluate("vocos-ko", corpus, recognizer="conformer-ko", mos=True).measures
    for name in ("dnsmos_overall", "dnsmos_signal", "dnsmos_background"):
        made, recorded = measures[name].value, measures[f"recordings_{name}"].value
        assert made == pytest.approx(recorded, rel=0.5)
        assert measures[f"{name}_difference"].value == pytest.approx(made - recorded)


def _loudness(wave, rate):
    assert rate == 16000 and np.abs(wave).max() <= 1.0
    return dict.fromkeys(("ovrl_mos", "sig_mos", "bak_mos"), float(np.abs(wave).mean()))


def test_texts_without_recordings_are_measured_by_group(corpus, tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("짧은 글\t네, 알겠습니다.\n짧은 글\t어디 가세요?\n\n수\t사과 세 개 주세요.\n", encoding="utf-8")
    asked = ["evaluate", "fastspeech2-ko", "--texts", str(texts), "--recognizer", "conformer-ko", "--json"]
    assert run(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["utterances"] == 3 and {"cer_no_space, 짧은 글", "cer_no_space, 수"} <= set(found["measures"])
    assert 0 <= found["measures"]["mismatched_texts"]["value"] <= 1
    assert [row["id"] for row in found["rows"]] == ["001 짧은 글", "002 짧은 글", "003 수"]


def test_a_voice_that_says_another_text_is_found(corpus, monkeypatch):
    say = Voice.say
    monkeypatch.setattr(
        Voice, "say", lambda voice, text, *more: say(voice, "어머니께서 시장에 가셔서 사과를 사 오셨다.", *more)
    )
    texts = [GroupedText("오늘은 아침에 도서관에서 책을 빌렸어요.")]
    assert evaluate_texts("fastspeech2-ko", texts, "conformer-ko").measures["mismatched_texts"].value == 1.0


@pytest.mark.parametrize(
    ("content", "told"), [("", "holds no text"), ("수\t하나\t둘", "line 1: expected a text"), ("수\t ", "line 1")]
)
def test_a_file_of_texts_that_is_none_is_told(tmp_path, content, told):
    (tmp_path / "texts.txt").write_text(content, encoding="utf-8")
    with pytest.raises(TextError, match=told):
        read_grouped_texts(tmp_path / "texts.txt")


def test_the_hard_sentences_are_a_hundred_and_can_be_said():
    texts = read_grouped_texts(HARD)
    assert len(texts) == 100 and len({item.text for item in texts}) == 100
    assert all(len(item.text) >= 200 for item in texts if item.group == "long")
    frontend = Frontend(morphology=False)
    assert all(frontend.read(item.text).words for item in texts)


def test_without_its_extra_opinions_are_refused_before_work_begins(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "speechmos", None)
    with pytest.raises(MissingExtraError, match=r"DNSMOS needs speechmos.*malsori\[mos\]"):
        evaluate("vocos-ko", corpus, mos=True)


def test_a_recognizer_beside_a_recognizer_is_refused(corpus):
    with pytest.raises(OptionError, match="recognizer 'vocos-ko': conformer-ko is a recognizer itself"):
        evaluate("conformer-ko", corpus, recognizer="vocos-ko")
