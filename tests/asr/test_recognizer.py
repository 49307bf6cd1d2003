"""The recognizer: a network that knows a few tones by ear finds words where they were planted."""

import itertools
import json
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import malsori
from malsori.asr.ctc import CtcSegmentDecoder
from malsori.asr.encode import encode, phoneme_encoder
from malsori.asr.options import DecodingOptions
from malsori.asr.recognizer import Recognizer, _kept_recognizer, load_recognizer, shared_recognizer
from malsori.audio.io import load_audio, save_audio, stream_audio
from malsori.audio.resampling import resample
from malsori.config import RECOGNITION_AUDIO
from malsori.corpus.layouts import read_layout
from malsori.decode.transcript import Transcript
from malsori.errors import AlignmentError, AudioError, DeviceError, ModelError, OptionError, TextError
from malsori.models.conformer import Conformer, ConformerConfig, ConformerOutput
from malsori.pretrained.folder import ModelFacts, SavedModel, save_model
from malsori.text.frontend import Frontend
from malsori.text.symbols import JAMO, PHONEMES, SymbolTable

RATE = 16000
#: Each jamo is a tone of its own, a space between words is one too; silence is CTC's blank.
TONES_HZ = {"ㄴ": 400.0, "ㅏ": 700.0, "ㅁ": 1100.0, "ㅜ": 1700.0, "ㅎ": 2600.0, "ㅣ": 3200.0, " ": 4000.0}
TONE_SECONDS = 0.1
SURE = 0.9


def tone(symbol: str, seconds: float = TONE_SECONDS, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * TONES_HZ[symbol] * time)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1e-5, round(seconds * RATE)).astype(np.float32)


def whistle(symbols: str) -> np.ndarray:
    """The tones of some jamo one after the other."""
    return np.concatenate([tone(symbol) for symbol in symbols])


class Ear(nn.Module):
    """Hears the tone that is loudest in a frame; of two mel frames it writes one, as the Conformer does."""

    def __init__(self) -> None:
        super().__init__()
        self.bands = torch.tensor([self.band(symbol) for symbol in TONES_HZ])

    @staticmethod
    def band(symbol: str) -> int:
        from malsori.audio.mel import log_mel

        return int(log_mel(torch.from_numpy(tone(symbol))[None], RECOGNITION_AUDIO)[0, 5].argmax())

    def infer(self, mel: Tensor, mel_lengths: Tensor) -> ConformerOutput:
        frames = 2 * -(-mel.shape[1] // 4)
        seen = mel[:, (2 * torch.arange(frames)).clamp(max=mel.shape[1] - 1)]
        level = seen[..., self.bands]
        loudest = torch.where(level.amax(-1) > -3.0, level.argmax(-1) + 1, 0)  # 0: silence
        return ConformerOutput(
            self._say(JAMO, loudest), self._say(PHONEMES, torch.where(loudest == len(TONES_HZ), 0, loudest)),
            torch.full((1,), frames),
        )  # fmt: skip

    @staticmethod
    def _say(table: SymbolTable, tones: Tensor) -> Tensor:
        ids = torch.tensor(table.encode(["_", *TONES_HZ]))[tones]
        probability = torch.full((*tones.shape, len(table)), (1 - SURE) / (len(table) - 1))
        return probability.scatter(-1, ids[..., None], SURE).log()


def facts(sizes: ConformerConfig) -> ModelFacts:
    audio = RECOGNITION_AUDIO
    return ModelFacts(system="conformer", model=sizes.model_dump(), audio=audio, audio_fingerprint=audio.fingerprint())


GREEDY = DecodingOptions(beam=1, vad=False)  # tones are no speech


def whistle_recognizer() -> Recognizer:
    model = SavedModel(facts(ConformerConfig()), {"jamo": JAMO, "phonemes": PHONEMES}, Ear())
    recognizer = Recognizer(model)
    recognizer.frontend = Frontend(morphology=False)
    return recognizer


@pytest.fixture(autouse=True)
def unrefined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tones are no speech: what malsori's phone models make of their edges means nothing."""
    monkeypatch.setattr("malsori.alignment.boundaries.refine", lambda _reading, _pieces, _rate, boundaries: boundaries)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return whistle_recognizer()


def times(spans: Sequence) -> list[tuple[str, float, float]]:
    return [(span.text, span.start, span.end) for span in spans]


def assert_near(found: list[tuple[str, float, float]], wanted: list[tuple[str, float, float]], within: float) -> None:
    assert [text for text, _, _ in found] == [text for text, _, _ in wanted]
    np.testing.assert_allclose([row[1:] for row in found], [row[1:] for row in wanted], atol=within)


def check_transcript(transcript: Transcript) -> None:
    """Times are ordered and inside, the text is what the segments say, in NFC, and JSON can hold it."""
    assert unicodedata.is_normalized("NFC", transcript.text) and transcript.language == "ko"
    assert transcript.text == " ".join(segment.text for segment in transcript.segments)
    edges = [edge for segment in transcript.segments for edge in (segment.start, segment.end)]
    assert edges == sorted(edges) and all(0 <= edge <= transcript.duration for edge in edges)
    for segment in transcript.segments:
        assert segment.text == " ".join(word.text for word in segment.words)
        inner = [edge for word in segment.words for edge in (word.start, word.end)]
        assert inner == sorted(inner) and segment.start <= inner[0] and inner[-1] <= segment.end + 1e-9
        assert all(0 <= word.confidence <= 1 for word in segment.words)
    said = json.loads(json.dumps(transcript.as_json()))
    assert set(said) == {"text", "language", "duration", "segments"}
    assert all(set(segment) == {"start", "end", "text", "words"} for segment in said["segments"])
    words = [word for segment in said["segments"] for word in segment["words"]]
    assert all(set(word) == {"text", "start", "end", "confidence"} for word in words)


@pytest.mark.parametrize("beam", [1, 4])
def test_words_are_found_where_they_were_said(recognizer: Recognizer, beam: int) -> None:
    wave = np.concatenate([silence(0.3), whistle("ㄴㅏㅁㅜ ㅎㅏ"), silence(0.2)])
    transcript = recognizer.transcribe(wave, DecodingOptions(beam=beam, vad=False), sample_rate=RATE)
    check_transcript(transcript)
    assert transcript.text == "나무 하" and transcript.duration == pytest.approx(1.2)
    (segment,) = transcript.segments
    assert_near(times(segment.words), [("나무", 0.3, 0.7), ("하", 0.8, 1.0)], within=0.03)
    assert [word.confidence for word in segment.words] == pytest.approx([SURE, SURE])


def test_a_file_and_its_wave_at_any_rate_are_transcribed_alike(recognizer: Recognizer, tmp_path: Path) -> None:
    wave = np.concatenate([silence(0.2), whistle("ㄴㅏ ㅁㅜ"), silence(0.2)])
    at_44100 = resample(wave, RATE, 44100)
    save_audio(tmp_path / "a.wav", at_44100, 44100)
    wanted = recognizer.transcribe(wave, GREEDY, sample_rate=RATE)
    for found in (
        recognizer.transcribe(at_44100, GREEDY, sample_rate=44100),
        recognizer.transcribe(tmp_path / "a.wav", GREEDY),
    ):
        assert found.text == wanted.text == "나 무" and found.duration == pytest.approx(wanted.duration, abs=1e-3)
        assert_near(times(found.segments[0].words), times(wanted.segments[0].words), within=0.021)


def test_silence_says_nothing(recognizer: Recognizer) -> None:
    transcript = recognizer.transcribe(silence(2.0), GREEDY, sample_rate=RATE)
    check_transcript(transcript)
    assert transcript.text == "" and transcript.segments == ()


@pytest.mark.parametrize("hops", range(40, 44))
def test_no_word_ends_after_its_sound(recognizer: Recognizer, hops: int) -> None:
    # the network writes frames in pairs: the last one may stand behind the end
    wave = tone("ㅏ", hops * 0.01)
    transcript = recognizer.transcribe(wave, GREEDY, sample_rate=RATE)
    check_transcript(transcript)
    assert transcript.segments[0].words[-1].end == pytest.approx(hops * 0.01, abs=0.01)


def test_long_sound_is_cut_where_it_is_quiet_and_no_word_is_lost(recognizer: Recognizer) -> None:
    starts = [1.3 * number for number in range(36)]  # 46.8 s
    pieces, wanted = [], []
    for number, start in enumerate(starts):
        word = ("ㄴㅏ", "ㅁㅜ", "ㅎㅏㄴㅏ")[number % 3]
        sound = whistle(word + " ")
        pieces += [sound, silence(1.3 - len(sound) / RATE)]
        wanted.append((("나", "무", "하나")[number % 3], start, start + len(word) * TONE_SECONDS))
    transcript = recognizer.transcribe(np.concatenate(pieces), GREEDY, sample_rate=RATE)
    check_transcript(transcript)
    assert len(transcript.segments) >= 3
    assert all(segment.end - segment.start <= CtcSegmentDecoder.max_seconds for segment in transcript.segments)
    assert [segment.start for segment in transcript.segments[1:]] == [
        segment.end for segment in transcript.segments[:-1]
    ]
    assert_near(times([word for segment in transcript.segments for word in segment.words]), wanted, within=0.04)


def test_a_stream_yields_the_segments_of_the_transcript_while_the_file_is_read(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [np.concatenate([whistle("ㄴㅏ "), silence(1.0)]) for _ in range(45)]  # 58.5 s
    save_audio(tmp_path / "long.wav", np.concatenate(words), RATE)
    read: list[int] = []

    def counted(path: Path, rate: int):
        for part in stream_audio(path, rate, seconds=5.0):
            read.append(len(part))
            yield part

    monkeypatch.setattr("malsori.asr.recognizer.stream_audio", counted)
    done: list[float] = []
    transcript = recognizer.transcribe(tmp_path / "long.wav", GREEDY, on_progress=done.append)
    read.clear()
    segments = recognizer.stream(tmp_path / "long.wav", GREEDY)
    first = next(segments)
    assert 18.0 < sum(read) / RATE < 24.0  # what the first piece needs, and not the whole file
    assert (first, *segments) == transcript.segments and len(transcript.segments) >= 4
    assert transcript.duration == pytest.approx(58.5) and transcript.text.split() == ["나"] * 45
    assert done == sorted(done) and done[-1] == pytest.approx(58.5) and len(done) == len(transcript.segments)


def test_a_stream_refuses_what_it_cannot_serve_before_it_begins(recognizer: Recognizer) -> None:
    with pytest.raises(OptionError, match="timestamps"):
        recognizer.stream(silence(1.0), DecodingOptions(timestamps=True), sample_rate=RATE)
    with pytest.raises(ValueError, match="needs its sample_rate"):
        recognizer.stream(silence(1.0))


def test_sound_that_is_never_quiet_is_cut_all_the_same(recognizer: Recognizer) -> None:
    transcript = recognizer.transcribe(tone("ㅏ", 2.5 * CtcSegmentDecoder.max_seconds), GREEDY, sample_rate=RATE)
    check_transcript(transcript)
    assert all(segment.end - segment.start <= CtcSegmentDecoder.max_seconds for segment in transcript.segments)
    assert transcript.segments[-1].end == pytest.approx(2.5 * CtcSegmentDecoder.max_seconds, abs=0.11)


def test_a_known_text_is_laid_over_its_sound(recognizer: Recognizer) -> None:
    wave = np.concatenate([silence(0.3), whistle("ㄴㅏㅁㅜ"), silence(0.3), whistle("ㅎㅏ"), silence(0.2)])
    alignment = recognizer.align(wave, "나무 하", RATE)
    assert_near(times(alignment.words), [("나무", 0.3, 0.7), ("하", 1.0, 1.2)], within=0.04)
    assert_near(times(alignment.syllables), [("나", 0.3, 0.5), ("무", 0.5, 0.7), ("하", 1.0, 1.2)], within=0.04)
    assert [span.text for span in alignment.phones] == ["ㄴ", "ㅏ", "ㅁ", "ㅜ", "ㅎ", "ㅏ"]
    assert alignment.duration == pytest.approx(len(wave) / RATE)
    for tier in alignment.tiers.values():
        edges = [edge for span in tier for edge in (span.start, span.end)]
        assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= alignment.duration
    inside = alignment.phones[:4]
    assert all(one.end == other.start for one, other in itertools.pairwise(inside))  # they touch


def test_digits_and_latin_letters_are_timed_as_they_are_read_and_named_as_they_are_written(recognizer) -> None:
    sounds = [whistle("ㄴㅏ"), whistle("ㅣ"), whistle("ㅣㅎㅏ"), whistle("ㅣㄴㅏ")]
    wave = np.concatenate([part for sound in sounds for part in (silence(0.2), sound)])
    alignment = recognizer.align(np.concatenate([wave, silence(0.3)]), "나 2 E하, 2나!", RATE)
    wanted = [("나", 0.2, 0.4), ("2", 0.6, 0.7), ("E하,", 0.9, 1.2), ("2나!", 1.4, 1.7)]
    assert_near(times(alignment.words), wanted, within=0.06)
    assert [span.text for span in alignment.syllables] == ["나", "이", "이", "하", "이", "나"]


def test_a_sound_of_any_length_is_aligned_whole_from_a_wave_and_from_a_file(recognizer: Recognizer, tmp_path) -> None:
    words = [("나", "무", "하나")[number % 3] for number in range(60)]
    jamo = {"나": "ㄴㅏ", "무": "ㅁㅜ", "하나": "ㅎㅏㄴㅏ"}
    sounds = [np.concatenate([whistle(jamo[word]), silence(0.9 - 0.1 * len(jamo[word]))]) for word in words]
    wave = np.concatenate(sounds)  # 54 s: windows end inside words
    save_audio(tmp_path / "long.wav", wave, RATE)
    wanted = [(word, 0.9 * place, 0.9 * place + 0.1 * len(jamo[word])) for place, word in enumerate(words)]
    found = recognizer.align(wave, " ".join(words), RATE)
    assert_near(times(found.words), wanted, within=0.04)
    assert_near(times(recognizer.align(tmp_path / "long.wav", " ".join(words)).words), times(found.words), within=1e-6)


@pytest.mark.parametrize("samples", [999, 16000, 300000])
def test_the_encoding_does_not_depend_on_how_the_sound_comes(recognizer: Recognizer, samples: int) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 50 * RATE + 123).astype(np.float32)
    whole = encode(recognizer.model, wave, RATE)
    pieces = phoneme_encoder(recognizer.model).encode_stream(
        wave[at : at + samples] for at in range(0, len(wave), samples)
    )
    np.testing.assert_array_equal(pieces.phonemes, whole.phonemes)
    assert pieces.seconds == whole.seconds == len(wave) / RATE
    assert len(whole.phonemes) == len(whole.jamo) == len(whole.loudness) == 2500


@pytest.mark.slow
@pytest.mark.data
def test_talks_joined_to_ten_minutes_are_found_where_they_were_joined(data_folder: Path, monkeypatch) -> None:
    monkeypatch.undo()  # speech it is
    talks = [item for item in read_layout(data_folder / "tedxkr", "auto").utterances if item.split == "dev"]
    waves, starts, texts = [], [0.0], []
    for talk in talks:
        waves.append(load_audio(talk.audio_path, RATE))
        starts.append(starts[-1] + len(waves[-1]) / RATE)
        texts.append(talk.spoken)
        if starts[-1] > 600:
            break
    recognizer = load_recognizer("conformer-ko")
    words = iter(recognizer.align(np.concatenate(waves), "\n".join(texts), RATE).words)
    off = []
    for text, start, end in zip(texts, starts[:-1], starts[1:], strict=True):
        own = [next(words) for _ in text.split()]
        assert "".join(word.text for word in own) == "".join(filter(str.isalnum, text)).replace("\n", "")
        off.append(max(start - own[0].start, own[-1].end - end))
    assert np.mean(np.array(off) < 0.3) > 0.9


def test_a_text_too_long_for_its_sound_is_refused(recognizer: Recognizer) -> None:
    with pytest.raises(AlignmentError, match="too few"):
        recognizer.align(tone("ㅏ", 0.2), "나무 나무 나무 나무", RATE)


def test_a_text_without_words_is_refused(recognizer: Recognizer) -> None:
    with pytest.raises(TextError, match="nothing to align"):
        recognizer.align(tone("ㅏ"), "...", RATE)


def test_a_sound_that_cannot_be_read_is_refused(recognizer: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="too short to recognize"):
        recognizer.transcribe(silence(0.05), GREEDY, sample_rate=RATE)
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        recognizer.transcribe(tmp_path / "nowhere.wav")
    with pytest.raises(ValueError, match="needs its sample_rate"):
        recognizer.transcribe(silence(1.0))


def test_a_recognizer_is_loaded_from_its_folder_and_writes_nfc_from_any_sound(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = ConformerConfig(
        hidden_size=12, num_layers=2, num_heads=2, kernel_size=5, subsampling_channels=4, phoneme_ctc_layer=1
    )
    network = Conformer(sizes).eval()
    network.jamo_head.project.weight.data.mul_(20)  # it babbles: bare codas, onsets without a vowel
    model = SavedModel(facts(sizes), {"jamo": JAMO, "phonemes": PHONEMES}, network)
    save_model(model, tmp_path / "model")
    babble = np.random.default_rng(0).normal(0, 0.1, 5 * RATE).astype(np.float32)
    transcript = load_recognizer(str(tmp_path), precision="float32").transcribe(babble, GREEDY, sample_rate=RATE)
    check_transcript(transcript)
    assert len(transcript.text) > 10
    assert transcript == Recognizer(model).transcribe(babble, GREEDY, sample_rate=RATE)


def test_threads_with_different_options_on_one_recognizer_get_what_each_gets_alone(recognizer: Recognizer) -> None:
    wave = np.concatenate([whistle("ㄴㅏㅁㅜ ㅎㅏ"), silence(0.2), whistle("ㅣㅎㅏ")])
    jobs = [GREEDY, DecodingOptions(beam=2, vad=False), DecodingOptions(beam=2, token_bonus=8.0, vad=False)] * 3
    alone = [recognizer.transcribe(wave, options, sample_rate=RATE) for options in jobs]
    assert len({transcript.text for transcript in alone}) > 1
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda options: recognizer.transcribe(wave, options, sample_rate=RATE), jobs))
    assert found == alone


def test_one_recognizer_is_loaded_for_all_threads_and_only_the_last_few_are_kept(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple] = []
    monkeypatch.setattr(
        "malsori.asr.recognizer.load_recognizer", lambda *asked: loaded.append(asked) or Recognizer(recognizer.model)
    )
    _kept_recognizer.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: shared_recognizer("one"), range(8)))
    assert len(set(map(id, found))) == 1 and loaded == [("one", "auto", "auto")]
    assert shared_recognizer("one", "cpu") is not found[0]
    for name in ("two", "three", "four"):
        shared_recognizer(name)
    loaded.clear()
    shared_recognizer("four")
    shared_recognizer("one")  # the longest unused, let go
    assert loaded == [("one", "auto", "auto")]
    _kept_recognizer.cache_clear()


def test_aligning_loads_the_built_in_recognizer_once(monkeypatch) -> None:
    monkeypatch.undo()
    _kept_recognizer.cache_clear()
    loaded: list[tuple] = []

    def counted(*asked: str | None) -> Recognizer:
        loaded.append(asked)
        return load_recognizer(*asked)

    monkeypatch.setattr("malsori.asr.recognizer.load_recognizer", counted)
    sound = np.random.default_rng(0).normal(0, 0.05, RATE).astype(np.float32)
    assert malsori.align(sound, "나무", RATE) == malsori.align(sound, "나무", RATE)
    assert len(loaded) == 1
    _kept_recognizer.cache_clear()


def test_a_device_or_precision_that_is_not_there_is_refused_before_anything_is_loaded(monkeypatch) -> None:
    monkeypatch.setattr("malsori.runtime.onnx.load_saved", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(DeviceError, match="no device 'gpu'"):
        load_recognizer(None, device="gpu")
    with pytest.raises(DeviceError, match="no precision 'float8'"):
        load_recognizer(None, precision="float8")


def test_half_precision_writes_nearly_the_same_log_probabilities() -> None:
    wave = np.random.default_rng(0).normal(0, 0.05, 2 * RATE).astype(np.float32)
    exact, half = (load_recognizer("conformer-ko", "cpu", precision).decoder for precision in ("float32", "bfloat16"))
    found, near = exact.encoder.posteriors(wave), half.encoder.posteriors(wave)
    assert found.log_probs.dtype == near.log_probs.dtype == np.float32
    assert not np.array_equal(found.log_probs, near.log_probs)
    assert np.abs(np.exp(found.log_probs) - np.exp(near.log_probs)).max() < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_transcribes_and_aligns_as_the_cpu_does() -> None:
    wave = np.random.default_rng(0).normal(0, 0.05, 25 * RATE).astype(np.float32)
    here, there = load_recognizer("conformer-ko", "cpu"), load_recognizer("conformer-ko", "cuda")
    assert next(there.model.network.parameters()).is_cuda
    a, b = (encode(one.model, wave, RATE) for one in (here, there))
    np.testing.assert_allclose(np.exp(a.jamo), np.exp(b.jamo), atol=2e-3)
    np.testing.assert_allclose(np.exp(a.phonemes), np.exp(b.phonemes), atol=2e-3)
    assert here.transcribe(wave, GREEDY, sample_rate=RATE).text == there.transcribe(wave, GREEDY, sample_rate=RATE).text


def test_a_voice_does_not_listen() -> None:
    other = facts(ConformerConfig()).model_copy(update={"system": "fastspeech2"})
    with pytest.raises(ModelError, match="a fastspeech2 is no recognizer; one of conformer"):
        Recognizer(SavedModel(other, {}, nn.Identity()))
