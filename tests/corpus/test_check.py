"""The corpus check: every planted fault is found at its own utterance, and nothing is found where nothing is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from malsori.asr.recognizer import load_recognizer
from malsori.audio.io import load_audio, save_audio
from malsori.audio.resampling import resample
from malsori.cli import run
from malsori.config import RECOGNITION_AUDIO
from malsori.corpus.audio_quality import text_fit
from malsori.corpus.check import CHECKS, CheckLimits, CheckReport, check_corpus
from malsori.corpus.check_whole import WHOLE_CHECKS
from malsori.corpus.folder import load_corpus, write_ground_truth
from malsori.corpus.ground_truth import PrepareOptions, prepare
from malsori.errors import CorpusError
from malsori.models.conformer import ConformerConfig, ConformerOutput
from malsori.pretrained.folder import ModelFacts, SavedModel
from malsori.report.check_page import save_check_page
from malsori.text.frontend import Frontend
from malsori.text.hangul import only_hangul
from malsori.text.symbols import PHONEMES
from malsori.text.tokenizer import Tokenizer, jamo_files

from .conftest import RATE, SENTENCES, buzz, spoken, write_emotiontts, write_text


def found(report: CheckReport) -> dict[str, list[str]]:
    """The ids that each check names, but for the note on speakers, who here speak in every split."""
    grouped = report.by_check()
    return {check: [item.id for item in items] for check, items in grouped.items() if "speaker" not in check}


def check(source: Path) -> CheckReport:
    return check_corpus(source, RECOGNITION_AUDIO, workers=1)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Forty-eight healthy utterances, each text read four times."""
    return write_emotiontts(tmp_path / "recordings", SENTENCES * 4)


class Bed:
    """One more utterance of speaker `kim`, to plant a fault in."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "Main" / "kim"

    def sound(self, name: str, wave: np.ndarray, text: str = "오늘은 날씨가 참 좋네요.", rate: int = RATE) -> Path:
        path = self.folder / "wav" / f"{name}.flac"
        save_audio(path, wave, rate)
        write_text(self.folder / "transcript" / f"{name}.txt", text)
        return path


def voice(seed: int, seconds: float = 2.0) -> np.ndarray:
    return spoken(seed % 12 + 100 * (seed // 12), seconds)


def plant_all(root: Path) -> dict[str, list[str]]:
    """Plant one fault of each kind and return the findings they must lead to."""
    bed, noise = Bed(root), np.random.default_rng(0)
    bed.sound("clipped", np.clip(voice(0) * 6, -0.8, 0.8) * 0.6)
    bed.sound("offset", voice(1) + 0.05)
    bed.sound("faint", voice(2) * 0.01)
    bed.sound("noisy", voice(3) + noise.normal(0, 0.12, len(voice(3))).astype(np.float32))
    bed.sound("silence", np.pad(voice(4), (0, 4 * RATE)))
    pause = np.zeros(6 * RATE // 5, dtype=np.float32)
    bed.sound("pause", np.concatenate([voice(5, 1.2), pause, voice(6, 1.2)]), "오늘은 날씨가 참 좋네요. " * 2)
    bed.sound("narrow", resample(resample(voice(7), RATE, 6000), 6000, RATE))
    bed.sound("slow_rate", spoken(8, 2.0, rate=11025), rate=11025)
    stereo = bed.sound("stereo", voice(9))
    import soundfile

    soundfile.write(stereo, np.stack([voice(9), voice(9) * 0.5], axis=1), RATE)
    bed.sound("lecture", np.tile(voice(10, 2.0), 11), "오늘은 날씨가 참 좋네요. " * 11)
    bed.sound("slow", voice(11), "네.")
    bed.sound("fast", voice(0, 2.1), "오늘은 날씨가 참 좋네요. " * 4)
    bed.sound("infeasible", voice(2, 1.1), "오늘은 날씨가 참 좋네요. " * 6)
    bed.sound("zz_copy", load_audio(root / "Main" / "kim" / "wav" / "kim00000.flac"), "안녕하세요.")
    bed.sound("empty", voice(4), " \n")
    cut = bed.sound("cut", voice(5))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    bed.sound("text", voice(6)).with_suffix(".wav").write_text("소리가 아니라 글")
    (bed.folder / "wav" / "text.flac").unlink()
    bed.sound("thai", voice(7), "안녕 \u0e2a 하세요.")
    bed.sound("cp949", voice(8))
    (bed.folder / "transcript" / "cp949.txt").write_bytes("안녕하세요.".encode("cp949"))
    bed.sound("untold", voice(9))
    (bed.folder / "transcript" / "untold.txt").unlink()
    write_text(bed.folder / "transcript" / "unheard.txt", "안녕하세요.")
    bed.sound("silent", np.zeros(2 * RATE, dtype=np.float32))
    bed.sound("short", buzz(0.15))
    bed.sound("whisper", noise.normal(0, 0.1, 2 * RATE).astype(np.float32))
    return {
        "too fast for CTC": ["infeasible"],
        "same recording twice": ["zz_copy"],
        "empty transcript": ["empty"],
        "sound cannot be read": ["text"],
        "sound is cut short or damaged": ["cut"],
        "text cannot be read": ["thai"],
        "text is not UTF-8": ["cp949"],
        "no transcript": ["untold"],
        "no recording": ["unheard"],
        "silent": ["silent"],
        "too short": ["short"],
        "no voice": ["whisper"],
        "clipping": ["clipped"],
        "offset": ["offset"],
        "faint": ["faint"],
        "noise": ["noisy"],
        "mostly silence": ["silence"],
        "long pause": ["pause"],
        "narrow band": ["narrow"],
        "another sample rate": ["slow_rate"],
        "several channels": ["stereo"],
        "odd length": ["lecture"],
        "odd speaking rate": ["fast", "infeasible", "slow"],
        "longer than 30 s": ["lecture"],
    }


def test_a_healthy_corpus_has_no_findings(many: Path) -> None:
    report = check(many)
    assert found(report) == {} and report.can_train and report.utterances == len(SENTENCES) * 4


def test_every_planted_fault_is_found_at_its_utterance_and_no_other(many: Path) -> None:
    planted = plant_all(many)
    report = check(many)
    named = {name: ids for name, ids in found(report).items() if name not in WHOLE_CHECKS}
    assert named == planted
    assert not report.can_train
    # All checks but those of splits, of a tokenizer and of the whole were put to the proof.
    assert set(CHECKS) - set(planted) - set(WHOLE_CHECKS) == {
        "text in train and held out",
        "speaker in several splits",
        "more tokens than Whisper writes",
        "text not said",
    }


def test_a_text_and_a_speaker_on_both_sides_of_a_split_are_found(many: Path) -> None:
    names = sorted(path.stem for path in many.rglob("*.flac"))
    held_out = {"kim00000": "test", "lee00001": "dev"}  # each text is read four times, by one speaker
    for split in ("train", "dev", "test"):
        write_text(many / "splits" / f"{split}.txt", "\n".join(x for x in names if held_out.get(x, "train") == split))
    report = check(many)
    assert found(report) == {"text in train and held out": ["kim00000", "lee00001"]}
    speakers = [(item.id, item.detail) for item in report.by_check()["speaker in several splits"]]
    assert speakers == [("kim", "speaks in train, test"), ("lee", "speaks in train, dev")]
    assert report.can_train  # results are too good, but training can start


def test_a_prepared_corpus_is_checked_with_its_ground_truth(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(many, out, PrepareOptions(audio=RECOGNITION_AUDIO, workers=1))
    assert found(check(out)) == {}
    corpus = load_corpus(out)
    names = ("kim00000", "kim00002", "kim00004", "lee00001")
    paths = {name: out / "ground_truth" / f"{name}.safetensors" for name in names}
    arrays = {cut.id: corpus.ground_truth(cut) for split in corpus.cuts.values() for cut in split if cut.id in names}
    paths["kim00000"].unlink()
    write_ground_truth(paths["kim00002"], arrays["kim00002"] | {"mel": arrays["kim00002"]["mel"] * np.nan}, "")
    write_ground_truth(paths["kim00004"], arrays["kim00004"] | {"pitch_hz": arrays["kim00004"]["pitch_hz"][1:]}, "")
    write_ground_truth(paths["lee00001"], arrays["lee00001"] | {"durations": np.array([3, 4], dtype=np.int32)}, "")
    assert found(check(out)) == {"ground truth damaged": list(names)}


def test_a_missing_folder_is_an_error_and_not_a_report(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        check_corpus(tmp_path / "nowhere")


def test_the_command_prints_a_table_and_leaves_with_2_if_training_cannot_start(
    emotiontts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--rate", "16000", "--workers", "1"]
    assert run(["corpus", "check", str(emotiontts), "--html", str(tmp_path / "check.html"), *options]) == 0
    assert "training can start" in (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "training can start" in capsys.readouterr().out
    (emotiontts / "Main" / "kim" / "transcript" / "kim00000.txt").write_text("")
    assert run(["corpus", "check", str(emotiontts), *options]) == 2
    table = capsys.readouterr().out
    assert "fault    empty transcript" in table and "kim00000" in table
    assert run(["corpus", "check", str(emotiontts), "--json", *options]) == 2
    facts = json.loads(capsys.readouterr().out)
    assert not facts["can_train"] and facts["utterances"] == len(SENTENCES) - 1
    assert facts["checks"][0] | {"advice": "", "utterances": 0} == {
        "check": "empty transcript",
        "severity": "fault",
        "advice": "",
        "count": 1,
        "utterances": 0,
    }


def test_preparing_by_command_lists_what_was_skipped(
    emotiontts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (emotiontts / "Main" / "kim" / "transcript" / "kim00000.txt").write_text("")
    command = ["corpus", "prepare", str(emotiontts), str(tmp_path / "out"), "--rate", "16000", "--workers", "1"]
    assert run(command) == 0
    assert "empty transcript: 1 (kim00000)" in capsys.readouterr().out
    assert run([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["skipped"] == {"empty transcript": ["kim00000"]} and facts["reused"] == len(SENTENCES) - 1


@pytest.mark.slow
@pytest.mark.data
def test_real_studio_recordings_can_be_trained_on(data_folder: Path) -> None:
    report = check_corpus(data_folder / "emotiontts")
    assert report.can_train and report.utterances == 1083
    # What there is: three texts of the main voices are read by others too, and two elderly or sad voices are slow.
    assert {check: len(ids) for check, ids in found(report).items()} == {
        "text in train and held out": 4,
        "odd speaking rate": 2,
    }


def test_texts_longer_than_whisper_writes_are_named_where_its_tokenizer_is_at_hand(emotiontts: Path, tmp_path: Path):
    limits = CheckLimits(max_tokens=33)
    jamo = Tokenizer(jamo_files())
    counted = {}
    for number, sentence in enumerate(SENTENCES):
        speaker = ("kim", "lee")[number % 2]
        counted[f"{speaker}{number:05d}"] = len(jamo.encode(only_hangul(sentence))) + 4
    wanted = sorted(name for name, tokens in counted.items() if tokens > 33)
    assert wanted
    report = check_corpus(emotiontts, RECOGNITION_AUDIO, workers=1, limits=limits, tokenizer=jamo)
    assert sorted(found(report)["more tokens than Whisper writes"]) == wanted
    assert "more tokens than Whisper writes" not in found(check_corpus(emotiontts, RECOGNITION_AUDIO, 1, limits=limits))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    for name, content in jamo_files().items():
        (tmp_path / "model" / name).write_bytes(content)
    assert run(["corpus", "check", str(emotiontts), "--whisper", str(tmp_path / "model"), "--workers", "1"]) == 0
    assert run(["corpus", "check", str(emotiontts), "--whisper", "conformer-ko", "--workers", "1"]) == 2


class Ear(nn.Module):
    """Hears the same phonemes in every sound, four frames each, as sure as can be told."""

    def __init__(self, text: str) -> None:
        super().__init__()
        reading = Frontend(morphology=False).read(text)
        sounds = zip(reading.phonemes, reading.phoneme_words, strict=True)
        self.said = PHONEMES.encode([phoneme for phoneme, word in sounds if word >= 0])

    def infer(self, mel: torch.Tensor, mel_lengths: torch.Tensor) -> ConformerOutput:
        frames = 2 * -(-mel.shape[1] // 4)
        ids = torch.zeros(1, frames, dtype=torch.long)  # the blank
        for place, token in enumerate(self.said):
            ids[:, 4 * place + 1 : 4 * place + 4] = token
        sure = torch.full((1, frames, len(PHONEMES)), 1e-3).scatter(-1, ids[..., None], 1.0)
        return ConformerOutput(sure[..., :1], (sure / sure.sum(-1, keepdim=True)).log(), torch.tensor([frames]))


def hears(text: str) -> SavedModel:
    audio = RECOGNITION_AUDIO
    facts = ModelFacts(
        system="conformer", model=ConformerConfig().model_dump(), audio=audio, audio_fingerprint=audio.fingerprint()
    )
    return SavedModel(facts, {"phonemes": PHONEMES}, Ear(text))


def test_a_text_fits_the_sound_that_says_it_and_the_less_the_more_is_wrong() -> None:
    model, wave = hears("오늘은 날씨가 참 좋네요"), buzz(2.0)
    fits = [
        text_fit(model, wave, RATE, Frontend(morphology=False).read(text))
        for text in ("오늘은 날씨가 참 좋네요", "오늘은 참 좋네요", "오늘은", "커피 한 잔 주세요")
    ]
    assert fits[0] == pytest.approx(0.0, abs=1e-4)
    assert fits[0] > fits[1] > fits[2] and fits[3] < -4.5
    assert text_fit(model, buzz(0.2), RATE, Frontend(morphology=False).read("오늘은 날씨가 참 좋네요")) == -np.inf


@pytest.mark.slow
def test_a_text_that_is_not_said_is_found_by_listening(many: Path, tmp_path: Path) -> None:
    for path in many.rglob("transcript/*.txt"):
        write_text(path, SENTENCES[1])
    assert "text not said" not in found(check(many))  # nobody listened
    write_text(many / "Main" / "kim" / "transcript" / "kim00002.txt", "커피 한 잔 주세요.")
    report = check_corpus(many, RECOGNITION_AUDIO, workers=1, recognizer=hears(SENTENCES[1]))
    assert found(report)["text not said"] == ["kim00002"]
    save_check_page(report, tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "faults must be corrected first" in page and page.count("<audio") >= 4 and "커피 한 잔 주세요." in page
    assert all(place not in page for place in ("http://", "https://"))


def test_speakers_are_told_apart_by_their_numbers(emotiontts: Path) -> None:
    report = check(emotiontts)
    speakers = report.as_dict()["speakers"]
    assert set(speakers) == {"kim", "lee"} and speakers["kim"]["utterances"] == len(SENTENCES) / 2
    assert all(100 < facts["pitch_hz"] < 250 for facts in speakers.values())
    assert sum(line.startswith("speaker  ") for line in report.lines()) == 2


@pytest.mark.slow
@pytest.mark.data
def test_texts_exchanged_between_real_recordings_are_found_and_no_others(data_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "emotiontts" / "Main" / "kih"
    shutil.copytree(next((data_folder / "emotiontts").rglob("kih")), folder)
    names = sorted(path.stem for path in folder.rglob("*.flac"))
    for one, other in ((names[3], names[40]), (names[60], names[90])):
        places = [folder / "transcript" / f"{name}.txt" for name in (one, other)]
        texts = [place.read_bytes() for place in places]
        for place, text in zip(places, reversed(texts), strict=True):
            place.write_bytes(text)
    report = check_corpus(tmp_path / "emotiontts", RECOGNITION_AUDIO, recognizer=load_recognizer("conformer-ko").model)
    assert sorted(found(report)["text not said"]) == sorted([names[3], names[40], names[60], names[90]])
