"""Whispers laid out for onnx-asr and sherpa-onnx: their graphs in those programs' own turns, and by those programs."""

import base64
import json
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from malsori.audio.io import load_audio
from malsori.audio.mel_filters import whisper_log_mel_array
from malsori.audio.resampling import resample
from malsori.config import WHISPER_AUDIO
from malsori.errors import ModelError, OptionError
from malsori.export.programs import ProgramExport, export_for
from malsori.models.whisper import Whisper, WhisperConfig
from malsori.pretrained.folder import ModelFacts, SavedModel, save_model
from malsori.pretrained.hub import load_saved
from malsori.text.tokenizer import Tokenizer as Alphabet
from malsori.text.tokenizer import jamo_files
from malsori.tts.voice import load_voice

from . import small

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

_SPECIAL = ("endoftext", "startoftranscript", "en", "ko", "translate", "transcribe", "startoflm", "startofprev")
_SPECIAL += ("nospeech", "notimestamps", "0.00", "0.02")
_SUPPRESSED, _NEVER_FIRST = [3, 5, 8], [32, 256]
_ROWS = 2


def byte_files() -> dict[str, bytes]:
    """Return the files of an alphabet of bytes, Whisper's special tokens behind them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = Tokenizer(models.BPE({sign: number for number, sign in enumerate(alphabet)}, []))
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    pieces.add_special_tokens([AddedToken(f"<|{name}|>") for name in _SPECIAL])
    settings = {"suppress_tokens": _SUPPRESSED, "begin_suppress_tokens": _NEVER_FIRST, "is_multilingual": True}
    return {"tokenizer.json": pieces.to_str().encode(), "generation_config.json": json.dumps(settings).encode()}


def saved(folder: Path, files: dict[str, bytes], vocab: int, **more: Any) -> Path:
    sides = {"num_encoder_layers": 2, "num_encoder_heads": 2, "num_decoder_layers": 2, "num_decoder_heads": 2}
    sizes = {"hidden_size": 16, "encoder_ffn_size": 32, "decoder_ffn_size": 32}
    config = WhisperConfig(vocab=vocab, encoder_positions=50, decoder_positions=30, **sides, **sizes, **more)
    facts = ModelFacts(
        system="whisper",
        model=config.model_dump(mode="json"),
        audio=WHISPER_AUDIO,
        audio_fingerprint=WHISPER_AUDIO.fingerprint(),
    )
    save_model(SavedModel(facts, {}, small.drawn(Whisper(config)), files=files), folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small Whisper, `model`, and itself for both programs."""
    jaxtyping.config.update("jaxtyping_disable", True)
    folder = tmp_path_factory.mktemp("whisper")
    saved(folder / "model", byte_files(), 256 + len(_SPECIAL))
    for program in ("onnx-asr", "sherpa-onnx"):
        export_for(program, str(folder / "model"), folder / program)
    return folder


@pytest.fixture(scope="module")
def wanted(whisper: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two sounds' mels, channels first, tokens, and the logits of PyTorch, what is forbidden far below."""
    network = load_saved(str(whisper / "model")).network
    torch.manual_seed(1)
    mel, ids = torch.randn(_ROWS, 60, 80), torch.randint(0, 256, (_ROWS, 9))
    ids[:, :4] = torch.tensor([257, 259, 261, 265])
    with torch.inference_mode():
        logits = network(mel, ids).logits.numpy().copy()
    logits[..., [*_SUPPRESSED, 266, 267]] = -1e9
    logits[:, 3, _NEVER_FIRST] = -1e9
    return mel.transpose(1, 2).numpy(), ids.numpy(), logits


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert ((found < -1e8) == (wanted < -1e8)).all()
    np.testing.assert_allclose(found.clip(-1e3), wanted.clip(-1e3), atol=1e-3)


def test_onnx_asr_s_graphs_give_the_logits_with_their_caches(whisper, wanted):
    mel, ids, logits = wanted
    encoder, decoder = (
        session(whisper / "onnx-asr" / f"{one}.onnx") for one in ("encoder_model", "decoder_model_merged")
    )
    (encoded,) = encoder.run(["last_hidden_state"], {"input_features": mel})
    past = {
        one.name: np.zeros((0, one.shape[1], 0, one.shape[3]), np.float32)
        for one in decoder.get_inputs()
        if one.name.startswith("past_key_values.")
    }
    for begin, end in ((0, 4), *((place, place + 1) for place in range(4, 9))):
        given = {
            "input_ids": ids[:, begin:end],
            "encoder_hidden_states": encoded,
            "use_cache_branch": np.array([begin > 0]),
        }
        names = [name.replace("past_key_values.", "present.") for name in past]
        found, *present = decoder.run(["logits", *names], {**given, **past})
        past = {name: new if len(new) else past[name] for name, new in zip(past, present, strict=True)}
        same(found, logits[:, begin:end])


def test_sherpa_onnx_s_graphs_give_the_logits_with_their_caches(whisper, wanted):
    mel, ids, logits = wanted
    encoder, decoder = (session(whisper / "sherpa-onnx" / f"{one}.onnx") for one in ("encoder", "decoder"))
    told = encoder.get_modelmeta().custom_metadata_map
    assert told["sot_sequence"] == "257,259,261" and told["no_timestamps"] == "265" and told["n_text_ctx"] == "30"
    assert (told["all_language_codes"], told["all_language_tokens"]) == ("en,ko", "258,259")
    for row in range(_ROWS):
        cross = encoder.run(None, {"mel": mel[row : row + 1]})
        caches = [np.zeros((2, 1, 30, 16), np.float32)] * 2
        for begin, end in ((0, 4), *((place, place + 1) for place in range(4, 9))):
            given = [ids[row : row + 1, begin:end], *caches, *cross, np.array([begin])]
            names = [one.name for one in decoder.get_inputs()]
            found, *caches = decoder.run(None, dict(zip(names, given, strict=True)))
            same(found, logits[row : row + 1, begin:end])
            assert caches[0].shape == (2, 1, 30, 16)


def test_tokens_are_told_as_the_programs_read_them(whisper):
    rows = [line.split() for line in (whisper / "sherpa-onnx" / "tokens.txt").read_text().splitlines()]
    assert len(rows) == 256 and {base64.b64decode(token) for token, _ in rows} == {bytes([one]) for one in range(256)}
    added = json.loads((whisper / "onnx-asr" / "added_tokens.json").read_text(encoding="utf-8"))
    assert added["<|ko|>"] == 259 and len(added) == len(_SPECIAL)
    assert len(json.loads((whisper / "onnx-asr" / "vocab.json").read_text(encoding="utf-8"))) == 256
    assert json.loads((whisper / "onnx-asr" / "config.json").read_text())["model_type"] == "whisper"


def test_what_the_programs_have_no_place_for_is_refused(whisper, tmp_path):
    jamo = jamo_files()
    saved(tmp_path / "jamo", jamo, json.loads(jamo["tokenizer.json"])["model"]["vocab"].__len__() + 20)
    saved(tmp_path / "short", byte_files(), 268, whole_window=False)
    for model, told in (("jamo", "whose tokens are bytes of a text"), ("short", "fills them up to a window")):
        with pytest.raises(ModelError, match=told):
            export_for("onnx-asr", str(tmp_path / model), tmp_path / "new")
    with pytest.raises(ModelError, match="onnx-asr has no place for a conformer; for one of whisper"):
        export_for("onnx-asr", "conformer-ko", tmp_path / "new")
    with pytest.raises(OptionError, match="a whisper makes no mels"):
        export_for("sherpa-onnx", str(whisper / "model"), tmp_path / "new", ProgramExport(vocoder="vocos-ko"))
    assert not (tmp_path / "new").exists()


def greedy(wave: np.ndarray) -> str:
    """Return what the built-in recognizer's network writes of a whole window, the likeliest token each time."""
    model = load_saved("whisper-base-ko")
    tokenizer = Alphabet(model.files)
    never, first = (list(tokenizer.suppressed_ids(one)) for one in ("suppress_tokens", "begin_suppress_tokens"))
    mel = whisper_log_mel_array(np.pad(wave, (0, 480_000 - len(wave))), model.facts.audio)
    state, new, ids = model.network.start(torch.from_numpy(mel)[None]), list(tokenizer.prefix()), []
    while len(ids) < 60 and ids[-1:] != [tokenizer.end]:
        logits, state = state.step(torch.tensor([new]))
        scores = logits[0, -1].numpy().copy()
        scores[never if ids else never + first] = -1e9
        ids.append(int(scores.argmax()))
        new = ids[-1:]
    return tokenizer.decode(ids).strip()


@pytest.mark.slow
def test_onnx_asr_writes_what_the_network_writes(tmp_path):
    onnx_asr = pytest.importorskip("onnx_asr", reason="onnx-asr is not installed")
    speech = load_voice(device="cpu").say("오늘은 날씨가 참 좋네요. 내일은 비가 옵니다.")
    wave = resample(speech.wave, speech.sample_rate, 16000)
    export_for("onnx-asr", "whisper-base-ko", tmp_path / "out")
    found = onnx_asr.load_model("whisper", str(tmp_path / "out")).recognize(wave, sample_rate=16000, language="ko")
    assert found.strip() == greedy(wave)


@pytest.mark.slow
@pytest.mark.data
def test_sherpa_onnx_writes_what_the_network_writes(data_folder, tmp_path):
    """But for spaces: it computes the mel in a way of its own, and what is unclear may be another word."""
    sherpa = pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed")
    wave = load_audio(data_folder / "emotiontts/Personality/pmj/wav/pmj00004.flac", 16000)
    export_for("sherpa-onnx", "whisper-base-ko", tmp_path / "out")
    files = {name: str(tmp_path / "out" / f"{name}.onnx") for name in ("encoder", "decoder")}
    tokens = str(tmp_path / "out" / "tokens.txt")
    recognizer = sherpa.OfflineRecognizer.from_whisper(**files, tokens=tokens, language="ko", num_threads=1)
    stream = recognizer.create_stream()
    stream.accept_waveform(16000, wave)
    recognizer.decode_stream(stream)
    assert stream.result.text.replace(" ", "") == greedy(wave).replace(" ", "")
