"""Decoding against planted decoders: what they mean is found, what they only murmur is rejected."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from malsori.decode.seq2seq import (
    DecoderState,
    DecodingConstraints,
    DecodingResult,
    FallbackOptions,
    beam_search,
    compression_ratio,
    decode_with_fallback,
    greedy_search,
    language_probabilities,
    rejection_reason,
    speech_log_likelihood_ratio,
)

START, NO_SPEECH, END, VOCAB = 7, 6, 5, 8
CONSTRAINTS = DecodingConstraints(
    (START,), END, max_new_tokens=6, no_speech=NO_SPEECH, suppress_tokens=(START, NO_SPEECH)
)
Speaker = Callable[[int, tuple[int, ...]], Tensor]


@dataclass(frozen=True)
class Planted:
    """A state whose logits are a function of the sound's number and of all that was said."""

    speak: Speaker
    said: tuple[tuple[int, ...], ...] = ((),)
    sounds: tuple[int, ...] = (0,)

    def step(self, token_ids: np.ndarray) -> tuple[np.ndarray, "Planted"]:
        rows = len(token_ids)
        said, sounds = (part * rows if len(part) == 1 else part for part in (self.said, self.sounds))
        logits, after = [], []
        for row, sound, before in zip(token_ids.tolist(), sounds, said, strict=True):
            texts = [(*before, *row[: place + 1]) for place in range(len(row))]
            logits.append(torch.stack([self.speak(sound, text) for text in texts]))
            after.append(texts[-1])
        return torch.stack(logits).numpy(), Planted(self.speak, tuple(after), sounds)

    def select(self, rows: np.ndarray) -> "Planted":
        kept = rows.tolist()
        return Planted(self.speak, tuple(self.said[row] for row in kept), tuple(self.sounds[row] for row in kept))

    def score(self, token_ids: np.ndarray, heads: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
        return self.step(token_ids)[0], np.ones((len(token_ids), len(heads), token_ids.shape[1], 1), np.float32)


def likes(*tokens: int, strength: float = 6.0) -> Tensor:
    logits = torch.zeros(VOCAB)
    logits[list(tokens)] = strength
    return logits


def reciting(*texts: tuple[int, ...], strength: float = 6.0) -> Speaker:
    """Under sound number i, the i-th text and then the end."""

    def speak(sound: int, said: tuple[int, ...]) -> Tensor:
        text = texts[min(sound, len(texts) - 1)]
        return likes((*text, END)[min(len(said) - 1, len(text))], strength=strength)

    return speak


def dice(sound: int, said: tuple[int, ...]) -> Tensor:
    """Logits that are a fixed, wild function of what was said."""
    seed = sum((token + 1) * 11**place for place, token in enumerate(said)) + 1000 * sound
    return torch.randn(VOCAB, generator=torch.Generator().manual_seed(seed % 2**31)) * 1.5


def test_the_planted_state_is_what_the_search_asks_for() -> None:
    assert isinstance(Planted(dice), DecoderState)


def test_greedy_recites_a_text_for_each_sound_and_stops_at_its_end() -> None:
    speak = reciting((1, 2, 3), (4,), ())
    found = greedy_search(Planted(speak, ((),) * 3, (0, 1, 2)), CONSTRAINTS, rows=3)
    assert [result.ids for result in found] == [(1, 2, 3), (4,), ()]
    assert all(result.ended for result in found)
    assert [len(result.log_probs) for result in found] == [4, 2, 1]


def test_a_text_without_end_is_cut_and_says_so() -> None:
    (result,) = greedy_search(Planted(lambda *_: likes(2)), CONSTRAINTS)
    assert result.ids == (2,) * 6 and not result.ended
    assert not beam_search(Planted(lambda *_: likes(2, strength=30.0)), CONSTRAINTS, 2)[0].ended


def test_suppressed_tokens_are_not_decoded() -> None:
    constraints = DecodingConstraints((START,), END, 3, suppress_tokens=(1,), begin_suppress_tokens=(2, END))
    (result,) = greedy_search(Planted(lambda *_: likes(1, 2) + likes(END, strength=5.0)), constraints)
    assert 1 not in result.ids and result.ids[0] not in (2, END) and result.ids[1:] == (2, 2)


def brute_force(constraints: DecodingConstraints) -> dict[tuple[int, ...], float]:
    """Return every text's mean log-probability under `dice`."""
    letters = [token for token in range(VOCAB) if token not in (*constraints.suppress_tokens, END)]
    scores = {}
    for length in range(constraints.max_new_tokens):
        for ids in itertools.product(letters, repeat=length):
            total = 0.0
            for place, token in enumerate((*ids, END)):
                logits = dice(0, (START, *ids[:place]))[None].numpy()
                total += constraints.apply(logits, [ids[:place]])[0, token].item()
            scores[ids] = total / (length + 1)
    return scores


def test_a_beam_as_wide_as_there_are_texts_finds_the_best_of_all() -> None:
    constraints = DecodingConstraints((START,), END, max_new_tokens=4, suppress_tokens=(START, NO_SPEECH))
    scores = brute_force(constraints)
    best = max(scores, key=lambda ids: scores[ids])
    found = beam_search(Planted(dice), constraints, 5**3)
    assert found[0].ids == best and found[0].mean_log_prob == pytest.approx(scores[best], abs=1e-5)
    assert len({result.ids for result in found}) == len(found)
    for result in found[:10]:
        assert result.mean_log_prob == pytest.approx(scores[result.ids], abs=1e-5)


def test_a_beam_finds_what_greed_misses() -> None:
    def speak(_sound: int, said: tuple[int, ...]) -> Tensor:  # 1 looks best, but after it nobody knows how to go on
        if len(said) == 1:
            return likes(1, strength=6.2) + likes(2)
        return likes(END) if said[1] == 2 else torch.zeros(VOCAB)

    assert greedy_search(Planted(speak), CONSTRAINTS)[0].ids[0] == 1
    assert beam_search(Planted(speak), CONSTRAINTS, 3)[0].ids == (2,)


@pytest.mark.parametrize("strength", [4.0, 8.0, 20.0])
@pytest.mark.parametrize("width", [1, 2, 5, 40])
def test_a_sure_text_is_found_whole_by_any_beam(width: int, strength: float) -> None:
    # the end is always the second best: as many cut texts as the beam is wide are there before the whole one
    text = (1, 2, 3, 4, 0, 1, 2)

    def speak(_sound: int, said: tuple[int, ...]) -> Tensor:
        place = len(said) - 1
        right = said[1:] == text[:place] and place <= len(text)
        return likes((*text, END)[place], strength=strength) + 0.1 * likes(END) if right else 0.1 * likes(END)

    found = beam_search(
        Planted(speak), DecodingConstraints((START,), END, max_new_tokens=12, suppress_tokens=(START, NO_SPEECH)), width
    )
    assert found[0].ids == text


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    def speak(_sound: int, said: tuple[int, ...]) -> Tensor:
        return likes(END, strength=30.0) if len(said) > 1 else torch.tensor([2.0, 1.0, 0, 0, 0, -30, 0, 0])

    draw = [greedy_search(Planted(speak), CONSTRAINTS, temperature=1.0, seed=seed)[0].ids for seed in range(400)]
    again = [greedy_search(Planted(speak), CONSTRAINTS, temperature=1.0, seed=seed)[0].ids for seed in range(5)]
    assert draw[:5] == again
    wanted = torch.tensor([2.0, 1.0, 0, 0, 0]).softmax(-1)
    shares = torch.tensor([sum(ids == (token,) for ids in draw) / 400 for token in range(5)])
    torch.testing.assert_close(shares, wanted, atol=0.08, rtol=0)


def read(ids: tuple[int, ...]) -> str:
    return "".join("가나다라마"[token] for token in ids)


def test_a_doubtful_text_is_tried_again_by_chance_until_it_is_sure() -> None:
    tried = []

    def speak(_sound: int, said: tuple[int, ...]) -> Tensor:
        if len(said) == 1:
            tried.append(said)
            return likes(1) + likes(2, strength=5.0) if len(tried) % 4 else likes(2, strength=20.0)
        return likes(END, strength=20.0) if said[1] == 2 else torch.zeros(VOCAB)  # sure of 2 alone

    result = decode_with_fallback(Planted(speak), CONSTRAINTS, FallbackOptions(beam=1, best_of=1), read)
    assert result.ids == (2,) and 1 < len(tried) <= 4


def test_of_several_texts_sampled_at_a_temperature_the_most_probable_is_taken() -> None:
    def speak(_sound: int, said: tuple[int, ...]) -> Tensor:
        return torch.tensor([2.0, 1.0, 0, 0, 0, -30, 0, 0]) if len(said) == 1 else likes(END, strength=30.0)

    options = FallbackOptions(temperatures=(1.0,), best_of=20, compression_ratio_threshold=100.0)
    assert decode_with_fallback(Planted(speak), CONSTRAINTS, options, read).ids == (0,)
    one = FallbackOptions(temperatures=(1.0,), best_of=1, compression_ratio_threshold=100.0)
    (drawn,) = greedy_search(Planted(speak), CONSTRAINTS, temperature=1.0)
    assert decode_with_fallback(Planted(speak), CONSTRAINTS, one, read).ids == drawn.ids


def test_a_try_that_can_no_longer_be_accepted_is_given_up() -> None:
    constraints = DecodingConstraints((START,), END, max_new_tokens=100, suppress_tokens=(START, NO_SPEECH, END))
    babble = Planted(lambda *_: torch.zeros(VOCAB))  # five tokens are left, each of them log 1/5
    (whole,) = greedy_search(babble, constraints, temperature=1.0)
    (given_up,) = greedy_search(babble, constraints, temperature=1.0, min_total=-50.0)
    assert len(whole.ids) == 100 and len(given_up.ids) == math.floor(50 / math.log(5)) + 1
    assert given_up.ids == whole.ids[: len(given_up.ids)] and not given_up.ended
    calls = []

    def counted(_sound: int, said: tuple[int, ...]) -> Tensor:
        calls.append(said)
        return torch.zeros(VOCAB)

    options = FallbackOptions(beam=1, temperatures=(1.0,), best_of=1)
    assert not decode_with_fallback(Planted(counted), constraints, options, read).ended
    assert len(calls) < 70  # of 100


def test_what_came_before_stands_in_front_of_the_start_which_says_whether_anybody_speaks() -> None:
    def speak(_sound: int, said: tuple[int, ...]) -> Tensor:
        return likes(NO_SPEECH if said[-1] == START else END if said[-1] == 2 else 2, strength=9.0)

    behind = DecodingConstraints((1, 3, START), END, 6, (START, NO_SPEECH), no_speech=NO_SPEECH, start=2)
    (found,) = greedy_search(Planted(speak), behind)
    assert found.no_speech_prob > 0.9
    (wrong,) = greedy_search(Planted(speak), DecodingConstraints((1, START), END, 6, no_speech=NO_SPEECH))
    assert wrong.no_speech_prob < 0.1


def test_the_language_is_what_the_token_behind_the_start_names() -> None:
    spoken = Planted(lambda _sound, said: likes(2, strength=3.0) if said == (START,) else likes(3))
    found = language_probabilities(spoken, START, {"ko": 2, "en": 3})
    assert found["ko"] > 0.9 and sum(found.values()) == pytest.approx(1.0)


def test_a_loop_is_tried_again_and_rejected_when_it_goes_on() -> None:
    constraints = DecodingConstraints((START,), END, max_new_tokens=200)
    result = decode_with_fallback(Planted(lambda *_: likes(3, strength=30.0)), constraints, FallbackOptions(), read)
    text = read(result.ids)
    assert compression_ratio(text) > 10
    assert rejection_reason(result, text, lambda: 9.0, FallbackOptions()) == "loop"


def test_where_every_try_is_doubtful_the_most_probable_is_kept_not_the_last() -> None:
    def speak(_sound: int, said: tuple[int, ...]) -> Tensor:
        return likes(1, strength=0.3) if len(said) < 5 else likes(END, strength=20.0)

    always_doubtful = FallbackOptions(beam=1, logprob_threshold=-0.001, compression_ratio_threshold=100.0)
    result = decode_with_fallback(Planted(speak), CONSTRAINTS, always_doubtful, read)
    assert result.ids == (1, 1, 1, 1)
    (by_chance,) = greedy_search(Planted(speak), CONSTRAINTS, temperature=1.0)
    assert by_chance.ids != result.ids and by_chance.mean_log_prob < result.mean_log_prob


def test_a_doubtful_text_is_kept_before_a_loop_that_is_more_probable() -> None:
    constraints = DecodingConstraints((START,), END, max_new_tokens=60, suppress_tokens=(START, NO_SPEECH, END))
    options = FallbackOptions(beam=1, temperatures=(1.0, 0.0), logprob_threshold=-0.5)
    result = decode_with_fallback(Planted(lambda *_: likes(3, strength=1.0)), constraints, options, read)
    assert set(result.ids) != {3} and compression_ratio(read(result.ids)) <= options.compression_ratio_threshold


def test_a_decoder_that_says_nobody_speaks_is_followed_only_in_doubt() -> None:
    def speak(strength: float) -> Speaker:
        def of(_sound: int, said: tuple[int, ...]) -> Tensor:
            if said == (START,):
                return likes(NO_SPEECH, strength=9.0) + likes(1, strength=strength)
            return likes((START, 1, 2, END)[min(len(said), 3)], strength=strength)

        return of

    for strength, reason in ((1.0, "no speech"), (12.0, "")):
        result = decode_with_fallback(Planted(speak(strength)), CONSTRAINTS, FallbackOptions(beam=1), read)
        assert result.no_speech_prob > (0.9 if reason else 0.04)
        told = DecodingResult(result.ids, result.log_probs, 0.99)
        assert rejection_reason(told, read(result.ids), lambda: 9.0, FallbackOptions()) == reason


THANKS, SPOKEN = (1, 2, 3, 4, 0), (2, 0, 4)


def ratio_of(sound: Planted, no_speech: Planted, ids: tuple[int, ...]) -> float:
    return speech_log_likelihood_ratio(sound.score(np.array([[START, *ids]]), ())[0], no_speech, 3, CONSTRAINTS, ids)


@pytest.mark.parametrize("surety", [1.0, 3.0, 8.0])
def test_thanks_for_watching_that_come_under_any_sound_are_rejected(surety: float) -> None:
    # under silence, noise and music alike the decoder recites what it has read most often, and is as sure as it can be
    murmur = reciting(THANKS, strength=surety)
    sound, nothing = Planted(murmur), Planted(murmur, ((),) * 3, (1, 2, 3))
    result = DecodingResult(THANKS, (-0.05,) * 6, no_speech_prob=0.1)
    ratio = ratio_of(sound, nothing, result.ids)
    assert ratio == pytest.approx(0.0, abs=1e-6)
    assert rejection_reason(result, read(THANKS), lambda: ratio, FallbackOptions()) == "log-likelihood ratio 0.00"


def test_words_that_the_sound_alone_makes_probable_are_accepted() -> None:
    speak = reciting(SPOKEN, THANKS, (), THANKS)
    sound, nothing = Planted(speak), Planted(speak, ((),) * 3, (1, 2, 3))
    result = decode_with_fallback(sound, CONSTRAINTS, FallbackOptions(), read)
    assert result.ids == SPOKEN
    ratio = ratio_of(sound, nothing, result.ids)
    assert ratio > 1.0 and rejection_reason(result, read(result.ids), lambda: ratio, FallbackOptions()) == ""


def test_the_same_thanks_are_accepted_of_who_says_them() -> None:
    # a speaker who does thank makes the words more probable than they are without him
    def speak(sound: int, said: tuple[int, ...]) -> Tensor:
        return reciting(THANKS, strength=9.0 if sound == 0 else 1.5)(0, said)

    ratio = ratio_of(Planted(speak), Planted(speak, ((),) * 3, (1, 2, 3)), THANKS)
    assert ratio > FallbackOptions().min_log_likelihood_ratio


def test_one_of_several_nothings_that_murmurs_the_text_is_enough() -> None:
    speak = reciting(THANKS, SPOKEN, THANKS, SPOKEN)
    ratio = ratio_of(Planted(speak), Planted(speak, ((),) * 3, (1, 2, 3)), THANKS)
    assert ratio == pytest.approx(0.0, abs=1e-6)


# Timestamps: letters 0-4, END 5, specials 6-7, and <|0.00|> to <|2.00|> from 8 on

FIRST = 8
TIMED = DecodingConstraints((START,), END, max_new_tokens=40, suppress_tokens=(NO_SPEECH, START), first_timestamp=FIRST)


def may_follow(text: tuple[int, ...], logits: Tensor | None = None) -> set[int]:
    logits = torch.zeros(1, FIRST + 101) if logits is None else logits[None]
    return set(np.flatnonzero(np.isfinite(TIMED.apply(logits.numpy(), [text])[0])).tolist())


def test_timestamps_open_a_text_within_its_first_second() -> None:
    assert may_follow(()) == set(range(FIRST, FIRST + 51))


def test_timestamps_come_in_pairs_and_never_fall() -> None:
    quiet = torch.zeros(FIRST + 101)
    quiet[FIRST:] = -20.0  # so that it is not time for one
    letters = {0, 1, 2, 3, 4}
    assert may_follow((FIRST + 3,), quiet) == {*letters, END}
    assert may_follow((FIRST + 3, 1), quiet) == {*letters, END, *range(FIRST + 4, FIRST + 101)}
    assert may_follow((FIRST + 3, 1, FIRST + 9), quiet) == {END, *range(FIRST + 9, FIRST + 101)}
    assert may_follow((FIRST + 3, 1, FIRST + 9, FIRST + 9), quiet) == {*letters, END}


def test_a_timestamp_comes_when_all_of_them_together_are_more_probable_than_any_word() -> None:
    logits = torch.zeros(FIRST + 101)
    logits[1] = 2.0  # more probable than any single timestamp, less than their sum
    assert may_follow((FIRST, 1), logits) == set(range(FIRST + 1, FIRST + 101))


def test_the_rules_of_time_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor

    settings = transformers.GenerationConfig(eos_token_id=END, bos_token_id=END, no_timestamps_token_id=FIRST - 1)
    settings.max_initial_timestamp_index = 50
    theirs = WhisperTimeStampLogitsProcessor(settings, begin_index=1)
    random = torch.Generator().manual_seed(0)
    for _ in range(60):
        logits = torch.randn(1, FIRST + 101, generator=random) * 3
        text: tuple[int, ...] = ()
        for _ in range(8):
            ours = DecodingConstraints((START,), END, 40, suppress_tokens=(FIRST - 1,), first_timestamp=FIRST).apply(
                logits.numpy(), [text]
            )
            wanted = theirs(torch.tensor([[START, *text]]), logits.clone()).numpy()
            assert np.array_equal(np.isfinite(ours), np.isfinite(wanted)), text
            text = (*text, int(torch.multinomial(torch.from_numpy(ours).exp(), 1, generator=random)))
            if text[-1] == END:
                break
