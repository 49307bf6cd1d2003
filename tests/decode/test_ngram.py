"""The language model: probabilities that sum to one, what it has seen it prefers, and nothing lost on disk."""

import itertools
import math

import pytest

from malsori.decode.ctc import BeamOptions, LanguageModel, prefix_beam_search
from malsori.decode.ngram import MAX_ORDER, NgramModel, count_model, load_ngram, save_ngram
from malsori.errors import ModelError, TextError
from malsori.text.hangul import to_jamo
from malsori.text.symbols import JAMO

TEXTS = ["가나 다", "가나", "나 가다", "다나가", "가나 나"]


def symbols_after(model: NgramModel, text: str) -> float:
    """The summed probability of everything that can follow a text."""
    state = model.start()
    for token in JAMO.encode(to_jamo(text)):
        _, state = model.step(state, token)
    following = (model.step(state, token)[0] for token in range(1, len(JAMO)))
    return math.exp(model.finish(state)) + sum(map(math.exp, following))


@pytest.mark.parametrize(("order", "min_count"), list(itertools.product((2, 3, 5, MAX_ORDER), (1, 2))))
def test_probabilities_after_any_text_sum_to_one(order: int, min_count: int) -> None:
    model = count_model(TEXTS, order, min_count)
    for text in ("", "가", "가나", "가나 ", "핥", "나 가다"):
        assert symbols_after(model, text) == pytest.approx(1.0, abs=1e-9)


def test_a_bigram_is_the_witten_bell_estimate_by_hand() -> None:
    model = count_model(["가", "가", "고"], 2, 1)
    onset, a = JAMO.encode(["ㄱ", "ㅏ"])
    state = model.step(model.start(), onset)[1]
    # ㄱ came 3 times and was followed by two kinds; unigrams: ㅏ 2 of 10 with one edge in front, every symbol a kind
    below = (2 + len(JAMO) * (1 / len(JAMO))) / (10 + len(JAMO))
    assert math.exp(model.step(state, a)[0]) == pytest.approx((2 + 2 * below) / (3 + 2))


def test_a_seen_text_is_likelier_than_its_reverse() -> None:
    model = count_model(TEXTS * 3, 6)
    assert model.log_prob("가나 다") > model.log_prob("다 나가") + 1


def test_a_saved_model_answers_alike_within_its_rounding(tmp_path) -> None:
    model = count_model(TEXTS * 3, 5)
    save_ngram(model, tmp_path / "lm.safetensors")
    again = load_ngram(tmp_path / "lm.safetensors")
    assert again.order == model.order
    assert again.log_prob("가나 다") == pytest.approx(model.log_prob("가나 다"), abs=6 / 16)


def test_a_file_that_is_no_model_is_told(tmp_path) -> None:
    (tmp_path / "lm.safetensors").write_text("nothing")
    with pytest.raises(ModelError, match="language model"):
        load_ngram(tmp_path / "lm.safetensors")


@pytest.mark.parametrize("order", [1, MAX_ORDER + 1])
def test_an_order_that_cannot_be_packed_is_refused(order: int) -> None:
    with pytest.raises(TextError, match=str(order)):
        count_model(TEXTS, order)


def test_no_text_is_refused() -> None:
    with pytest.raises(TextError, match="every line is empty"):
        count_model(["", ""], 3)


def test_it_tips_the_balance_where_the_sound_is_unclear() -> None:
    import numpy as np

    model = count_model(["가나"] * 20, 4)
    assert isinstance(model, LanguageModel)
    symbols = ["ㄱ", "ㅏ", "ㄴ", "ㅏ"]
    log_probs = np.full((4, len(JAMO)), -12.0, dtype=np.float32)
    for frame, symbol in enumerate(symbols):
        log_probs[frame, JAMO.encode([symbol])] = np.log(0.45 if frame == 2 else 0.99)
    log_probs[2, JAMO.encode(["ㄷ"])] = np.log(0.5)
    alone = prefix_beam_search(log_probs, BeamOptions(8, language_weight=0.0))[0]
    helped = prefix_beam_search(log_probs, BeamOptions(8, language_weight=0.5), model)[0]
    assert JAMO.decode(alone.ids)[2] == "ㄷ"
    assert JAMO.decode(helped.ids) == symbols
