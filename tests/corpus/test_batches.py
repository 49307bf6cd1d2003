"""Batches: the same ones after a stop as without it, and what stands side by side in them belongs together."""

import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from malsori.audio.mel import log_mel
from malsori.config import RECOGNITION_AUDIO
from malsori.corpus.batches import (
    DataConfig,
    Example,
    ListenCollator,
    SegmentCollator,
    SpeakCollator,
    SpeechDataset,
    Target,
    load_example,
    on_device,
    places,
    plan_epoch,
    remove_unaligned,
    select,
    speaker_statistics,
)
from malsori.corpus.folder import Corpus, add_ground_truth, load_corpus
from malsori.corpus.ground_truth import PrepareOptions, prepare
from malsori.errors import CorpusError
from malsori.pretrained.folder import Statistics

from .conftest import SENTENCES, buzz, write_emotiontts

AUDIO = RECOGNITION_AUDIO
FLOOR = float(np.log(AUDIO.log_floor))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Twenty utterances of two speakers."""
    folder = tmp_path_factory.mktemp("batches")
    write_emotiontts(folder / "recordings", tuple(itertools.islice(itertools.cycle(SENTENCES), 20)))
    prepare(folder / "recordings", folder / "out", PrepareOptions(audio=AUDIO, workers=1))
    return load_corpus(folder / "out")


def example(name: str = "a", seconds: float = 1.2, speaker: str = "kim") -> Example:
    """An utterance in memory, its mel measured on its wave."""
    wave = buzz(seconds)
    wave = wave[: len(wave) // AUDIO.hop_samples * AUDIO.hop_samples]
    mel = log_mel(torch.from_numpy(wave)[None], AUDIO)[0].numpy()
    pitch = np.linspace(100, 200, len(mel), dtype=np.float32)
    pitch[:5] = 0.0
    return Example(name, speaker, wave, {"mel": mel, "pitch_hz": pitch})


# The plan


@pytest.mark.parametrize("by_seconds", [True, False])
def test_a_plan_is_decided_by_seed_and_epoch(corpus: Corpus, by_seconds: bool) -> None:
    data = DataConfig(batch_seconds=6.0, batch_size=4)
    cuts = select(corpus, "train", data)
    plans = {key: plan_epoch(cuts, data, by_seconds, *key) for key in ((1, 0), (1, 1), (1, 2), (7, 0))}
    assert plans == {key: plan_epoch(cuts, data, by_seconds, *key) for key in reversed(plans)}
    assert all(one != other for one, other in itertools.combinations(plans.values(), 2))


@pytest.mark.parametrize("seconds", [3.0, 6.0, 1000.0])
def test_every_utterance_is_heard_once_an_epoch_in_batches_of_so_many_seconds(corpus: Corpus, seconds: float) -> None:
    data = DataConfig(batch_seconds=seconds)
    cuts = select(corpus, "train", data)
    for epoch in range(3):
        plan = plan_epoch(cuts, data, True, 1, epoch)
        assert sorted(itertools.chain(*plan)) == sorted(cuts)
        for ids in plan:
            durations = [cuts[name].duration for name in ids]
            # a batch is closed when one more of its longest would not fit; its last one may be longer than those before
            assert sum(durations) <= seconds + max(durations)


def test_batches_by_seconds_hold_utterances_of_like_length(corpus: Corpus) -> None:
    cuts = select(corpus, "train", DataConfig())
    plan = plan_epoch(cuts, DataConfig(batch_seconds=6.0), True, 1, 0)
    within = [np.ptp([cuts[name].duration for name in ids]) for ids in plan if len(ids) > 1]
    assert np.mean(within) < 0.6 * np.ptp([cut.duration for cut in cuts.values()])


def test_vocoder_batches_are_full_and_hold_no_utterance_twice_an_epoch(corpus: Corpus) -> None:
    cuts = select(corpus, "train", DataConfig())
    plan = plan_epoch(cuts, DataConfig(batch_size=4), False, 1, 0)
    ids = list(itertools.chain(*plan))
    assert {len(batch) for batch in plan} == {4} and len(set(ids)) == len(ids) == len(cuts) // 4 * 4


def test_a_corpus_smaller_than_a_batch_is_still_learnt_from(corpus: Corpus) -> None:
    cuts = dict(itertools.islice(select(corpus, "train", DataConfig()).items(), 3))
    assert [sorted(ids) for ids in plan_epoch(cuts, DataConfig(batch_size=16), False, 1, 0)] == [sorted(cuts)]
    assert [sorted(ids) for ids in plan_epoch(cuts, DataConfig(), True, 1, 0)] == [sorted(cuts)]
    one = dict(itertools.islice(cuts.items(), 1))
    assert plan_epoch(one, DataConfig(), True, 1, 0) == [list(one)]


def test_a_run_goes_on_with_the_batches_that_an_unbroken_one_would_meet(corpus: Corpus) -> None:
    data = DataConfig(batch_seconds=6.0)
    cuts = select(corpus, "train", data)

    def plan(epoch: int) -> list[list[str]]:
        return plan_epoch(cuts, data, True, 1, epoch)

    count = len(plan(0)) * 3
    unbroken = list(places(plan, 0, count))
    assert [step for step, _ in unbroken] == list(range(count))
    for start in (1, len(plan(0)), count - 1, count):
        assert list(places(plan, start, count)) == unbroken[start:]


# What is drawn


@dataclass(frozen=True)
class Drawn:
    """A collator that tells what it was given."""

    def __call__(self, examples: list[Example], random: np.random.Generator) -> tuple[list[str], float]:
        return [one.id for one in examples], float(random.random())


def test_what_is_drawn_for_a_step_depends_on_the_seed_and_the_step_alone(corpus: Corpus) -> None:
    cuts = select(corpus, "train", DataConfig())
    ids = list(cuts)[:2]
    speech = SpeechDataset(corpus, cuts, Drawn(), seed=1)
    forwards = [speech[step, ids] for step in range(4)]
    assert all(names == ids for names, _ in forwards) and len({drawn for _, drawn in forwards}) == 4
    resumed = SpeechDataset(corpus, cuts, Drawn(), seed=1)
    assert [resumed[step, ids] for step in (3, 1)] == [forwards[3], forwards[1]]
    assert SpeechDataset(corpus, cuts, Drawn(), seed=2)[0, ids] != forwards[0]


def test_an_utterance_is_read_once_and_no_batch_changes_it(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = select(corpus, "train", DataConfig())
    ids = list(cuts)[:2]
    data = DataConfig(freq_mask_width=20, time_mask_width=20)
    targets = {name: Target("", [1], [1]) for name in ids}
    speech = SpeechDataset(corpus, cuts, ListenCollator(AUDIO.sample_rate, AUDIO, targets, data), seed=1)
    read = []
    original = load_example
    monkeypatch.setattr(
        "malsori.corpus.batches.load_example", lambda corpus, cut: read.append(cut.id) or original(corpus, cut)
    )
    first = [speech[step, ids] for step in (0, 1, 0)]
    assert read == ids
    assert torch.equal(first[0].mel, first[2].mel) and not torch.equal(first[0].mel, first[1].mel)


# Pieces for vocoders


def test_a_pieces_mel_is_the_mel_of_its_own_wave() -> None:
    collate, utterance = SegmentCollator(AUDIO, frames=40), example()
    batch = collate([utterance] * 6, np.random.default_rng(0))
    assert batch.mel.shape == (6, 40, 80) and batch.wave.shape == (6, 40 * AUDIO.hop_samples)
    # at its ends the piece's mel saw the utterance on, the piece's wave cannot
    torch.testing.assert_close(log_mel(batch.wave, AUDIO)[:, 2:-2], batch.mel[:, 2:-2], atol=1e-3, rtol=1e-3)
    assert len({wave.numpy().tobytes() for wave in batch.wave}) > 1


def test_a_piece_has_its_own_stretch_of_the_utterances_pitch() -> None:
    utterance = example(seconds=0.3)  # 30 frames
    batch = SegmentCollator(AUDIO, frames=28)([utterance] * 40, np.random.default_rng(0))
    pitch = utterance.truth["pitch_hz"]
    drawn = np.log(np.where(pitch > 0, pitch, pitch[5]))  # held before the first voiced frame
    for wave, log_pitch, voiced in zip(batch.wave, batch.log_pitch, batch.voiced, strict=True):
        start = next(s for s in range(3) if np.array_equal(utterance.wave[s * 160 :][:4480], wave))
        np.testing.assert_allclose(log_pitch, drawn[start : start + 28], rtol=1e-6)
        assert voiced.tolist() == (pitch[start : start + 28] > 0).tolist()


def test_pieces_are_drawn_from_the_whole_utterance_ends_included() -> None:
    utterance = example(seconds=0.3)  # 30 frames
    waves = SegmentCollator(AUDIO, frames=28)([utterance] * 40, np.random.default_rng(0)).wave
    starts = {next(s for s in range(3) if np.array_equal(utterance.wave[s * 160 :][:4480], wave)) for wave in waves}
    assert starts == {0, 1, 2}


def test_an_utterance_shorter_than_a_piece_is_padded_with_silence() -> None:
    utterance = example(seconds=0.3)
    batch = SegmentCollator(AUDIO, frames=50)([utterance], np.random.default_rng(0))
    frames = len(utterance.truth["mel"])
    assert np.array_equal(batch.mel[0, :frames], utterance.truth["mel"]) and (batch.mel[0, frames:] == FLOOR).all()
    assert (batch.wave[0, frames * AUDIO.hop_samples :] == 0).all()
    assert batch.log_pitch.shape == batch.voiced.shape == (1, 50) and not batch.voiced[0, frames:].any()


# Aligned tokens for voices


def aligned(durations: list[int], pitch_hz: list[float], energy: list[float], speaker: str = "kim") -> Example:
    """An utterance of so many tokens, one value a frame."""
    truth = {
        "token_ids": np.arange(1, len(durations) + 1, dtype=np.int32),
        "durations": np.array(durations, dtype=np.int32),
        "mel": np.random.default_rng(0).normal(size=(sum(durations), 80)).astype(np.float32),
        "pitch_hz": np.array(pitch_hz, dtype=np.float32),
        "energy": np.array(energy, dtype=np.float32),
    }
    return Example("a", speaker, np.zeros(sum(durations) * AUDIO.hop_samples, dtype=np.float32), truth)


STATISTICS = {
    "kim": Statistics(pitch_mean=float(np.log(100)), pitch_std=0.5, energy_mean=2.0, energy_std=4.0),
    "lee": Statistics(pitch_mean=float(np.log(200)), pitch_std=1.0, energy_mean=0.0, energy_std=1.0),
}


def test_pitch_is_given_a_frame_and_energy_a_token_in_the_speakers_own_measure() -> None:
    high = float(100 * np.exp(0.5))  # one deviation above kim's mean
    kim = aligned([2, 0, 3, 2], [100, high, 0, high, high, 0, 0], [2, 6, 2, 2, 2, 10, 10])
    lee = aligned([1], [200], [3], speaker="lee")
    batch = SpeakCollator(("kim", "lee"), STATISTICS)([kim, lee], np.random.default_rng(0))
    assert batch.speaker_ids.tolist() == [0, 1] and batch.token_lengths.tolist() == [4, 1]
    assert batch.token_ids.tolist() == [[1, 2, 3, 4], [1, 0, 0, 0]]
    assert batch.durations.tolist() == [[2, 0, 3, 2], [1, 0, 0, 0]]
    # pitch is drawn straight across the unvoiced frame and held to the end; padding is 0
    contour = [0.0, 1, 1, 1, 1, 1, 1]
    torch.testing.assert_close(batch.pitch, torch.tensor([contour, [0.0] * 7]), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.energy, torch.tensor([[0.5, 0, 0, 2], [3.0, 0, 0, 0]]), atol=1e-5, rtol=0)
    assert batch.pitch.dtype == batch.energy.dtype == batch.mel.dtype == torch.float32


def test_durations_sum_to_the_frames_of_the_mel() -> None:
    utterances = [aligned([2, 3], [0] * 5, [1] * 5), aligned([4, 1, 4], [0] * 9, [1] * 9)]
    batch = SpeakCollator(("kim",), STATISTICS)(utterances, np.random.default_rng(0))
    assert torch.equal(batch.durations.sum(1), batch.frame_lengths) and batch.mel.shape == (2, 9, 80)
    assert (batch.mel[0, 5:] == 0).all()


def test_a_speakers_statistics_are_over_voiced_frames_of_its_own_utterances(corpus: Corpus) -> None:
    cuts = select(corpus, "train", DataConfig())
    statistics = speaker_statistics(corpus, cuts)
    assert list(statistics) == ["kim", "lee"]
    of_kim = [corpus.ground_truth(cut) for cut in cuts.values() if cut.supervisions[0].speaker == "kim"]
    pitch = np.concatenate([truth["pitch_hz"] for truth in of_kim])
    assert statistics["kim"].pitch_mean == pytest.approx(np.log(pitch[pitch > 0]).mean(), rel=1e-5)
    assert statistics["kim"].pitch_std == pytest.approx(np.log(pitch[pitch > 0]).std(), rel=1e-4)
    energy = np.concatenate([truth["energy"] for truth in of_kim])
    assert statistics["kim"].energy_std == pytest.approx(energy.std(), rel=1e-4)


def test_a_speaker_who_never_sounds_is_named(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = {"pitch_hz": np.zeros(9, dtype=np.float32), "energy": np.ones(9, dtype=np.float32)}
    monkeypatch.setattr(Corpus, "ground_truth", lambda _corpus, _cut, _names: silent)
    with pytest.raises(CorpusError, match="speaker 'kim' has no voiced frame"):
        speaker_statistics(corpus, select(corpus, "train", DataConfig()))


# Whole utterances for recognisers


def listen(*examples: Example, rate: int = 16000, seed: int = 0, **settings: object) -> Tensor:
    """The mel of a batch of utterances."""
    targets = {one.id: Target("가", [2, 3], [2]) for one in examples}
    collate = ListenCollator(rate, AUDIO, targets, DataConfig(**settings))
    return collate(list(examples), np.random.default_rng(seed)).mel


def test_without_masks_and_speeds_a_recognizer_hears_the_recording() -> None:
    long, short = example("a", 1.2), example("b", 0.7)
    targets = {"a": Target("가나", [1, 2, 3], [4]), "b": Target("다", [5], [6, 7])}
    batch = ListenCollator(16000, AUDIO, targets, DataConfig())([long, short], np.random.default_rng(0))
    assert batch.mel_lengths.tolist() == [120, 70] and batch.texts == ["가나", "다"]
    assert batch.jamo_ids.tolist() == [[1, 2, 3], [5, 0, 0]] and batch.jamo_lengths.tolist() == [3, 1]
    assert batch.phoneme_ids.tolist() == [[4, 0], [6, 7]] and batch.phoneme_lengths.tolist() == [1, 2]
    torch.testing.assert_close(batch.mel[0], torch.from_numpy(long.truth["mel"]))
    torch.testing.assert_close(batch.mel[1, :70], torch.from_numpy(short.truth["mel"]))


@pytest.mark.parametrize("speed", [0.9, 1.1, 2.0])
def test_a_faster_utterance_is_shorter_by_as_much(speed: float) -> None:
    assert listen(example(), speed_perturbation=(speed,)).shape[1] == pytest.approx(120 / speed, abs=1)


def test_a_voice_corpus_is_heard_at_the_recognizers_rate() -> None:
    at_22050 = replace(example(), wave=buzz(1.2, rate=22050))
    heard = listen(at_22050, rate=22050)
    assert heard.shape[1] == 120
    # the same buzz, but for the room: made at one rate or brought to it
    assert (heard - listen(example())).abs()[0, 5:-5, :40].median() < 0.3


def test_every_speed_is_drawn_in_time() -> None:
    lengths = {listen(example(), seed=seed, speed_perturbation=(0.9, 1.0, 1.1)).shape[1] for seed in range(20)}
    assert lengths == {109, 120, 133}


@pytest.mark.parametrize(("axis", "setting", "widest"), [(1, "freq_mask_width", 12), (0, "time_mask_width", 15)])
def test_masks_are_two_bands_at_the_mean_no_wider_than_asked(axis: int, setting: str, widest: int) -> None:
    utterance, widths = example(), []
    plain = listen(utterance)[0]
    for seed in range(30):
        mel = listen(utterance, seed=seed, **{setting: widest})[0]
        masked = (mel != plain).all(1 - axis)
        assert torch.equal((mel != plain).any(1 - axis), masked)  # whole bands or nothing
        assert (mel.select(axis, 0)[masked.select(0, 0)] == plain.mean()).all()
        assert torch.allclose(mel[masked] if axis == 0 else mel[:, masked], plain.mean())
        widths.append(int(masked.sum()))
    assert widest < max(widths) <= 2 * widest


def test_a_mask_never_takes_more_than_a_fifth_of_a_short_utterance() -> None:
    utterance = example(seconds=0.5)
    plain = listen(utterance)[0]
    for seed in range(20):
        assert (listen(utterance, seed=seed, time_mask_width=100)[0] != plain).all(1).sum() <= 2 * (50 // 5)


# Which utterances


def test_only_the_wanted_utterances_are_taken(corpus: Corpus) -> None:
    everything = select(corpus, "train", DataConfig())
    assert set(everything) == {cut.id for cut in corpus.cuts["train"]}
    kim = select(corpus, "train", DataConfig(speakers=("kim",)))
    assert kim and {cut.supervisions[0].speaker for cut in kim.values()} == {"kim"}
    longest = float(np.median([cut.duration for cut in everything.values()]))
    short = select(corpus, "train", DataConfig(max_seconds=longest))
    assert set(short) == {name for name, cut in everything.items() if cut.duration <= longest}


def test_when_no_utterance_is_left_it_is_told_why(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"split 'train' has no utterance of speakers kim up to 0\.1 s long"):
        select(corpus, "train", DataConfig(speakers=("kim",), max_seconds=0.1))


def test_a_speaker_the_corpus_does_not_know_is_refused_with_the_nearest(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"no speaker 'kin'\. Did you mean 'kim'\?"):
        select(corpus, "train", DataConfig(speakers=("lee", "kin")))


def test_a_batch_on_a_device_is_the_same_batch() -> None:
    targets = {"a": Target("가", [1], [2])}
    batch = ListenCollator(16000, AUDIO, targets, DataConfig())([example()], np.random.default_rng(0))
    moved = on_device(batch, torch.device("cpu"))
    assert type(moved) is type(batch) and moved.texts == ["가"] and torch.equal(moved.mel, batch.mel)
    assert on_device(batch, torch.device("meta")).mel.device.type == "meta"


def test_what_has_no_durations_is_removed_and_named_until_nothing_is_left(corpus: Corpus, tmp_path: Path) -> None:
    own = replace(corpus, path=Path(shutil.copytree(corpus.path, tmp_path / "corpus")))
    cuts = {split: select(own, split, DataConfig()) for split in ("train", "dev")}
    first, *others = list(cuts["train"])
    aligned_cuts = [cuts["train"][first], *cuts["dev"].values()]
    with pytest.raises(CorpusError, match="no durations yet"):
        remove_unaligned(own, dict(cuts))
    for cut in aligned_cuts:
        frames = len(own.ground_truth(cut)["mel"])
        add_ground_truth(own.ground_truth_path(cut), {"durations": np.array([frames], np.int32)})
    kept = dict(cuts)
    assert remove_unaligned(own, kept) == {"without durations": others}
    assert list(kept["train"]) == [first] and kept["dev"] == cuts["dev"]
    assert remove_unaligned(own, kept) == {}
    own.ground_truth_path(cuts["train"][first]).write_bytes(b"half a file")
    with pytest.raises(CorpusError, match=f"{first}.*prepare"):
        remove_unaligned(own, kept)


def test_so_many_minutes_of_train_hold_what_fewer_do(corpus: Corpus) -> None:
    whole = select(corpus, "train", DataConfig())
    there = sum(cut.duration for cut in whole.values()) / 60
    some, more = (select(corpus, "train", DataConfig(minutes=share * there)) for share in (0.3, 0.7))
    assert 0 < len(some) < len(more) < len(whole) and set(some) < set(more) < set(whole)
    for share, cuts in ((0.3, some), (0.7, more)):
        seconds = sum(cut.duration for cut in cuts.values())
        assert share * there * 60 - max(cut.duration for cut in whole.values()) < seconds <= share * there * 60
    assert select(corpus, "train", DataConfig(minutes=there)) == whole
    assert select(corpus, "dev", DataConfig(minutes=0.01)) == select(corpus, "dev", DataConfig())
    with pytest.raises(CorpusError, match=r"data.minutes = 90: what is selected of .* has \d\.\d in train"):
        select(corpus, "train", DataConfig(minutes=90))
