"""The page that speaks in the browser: its table is the rules, its files are whole, and it says what the voice says."""

import itertools
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from malsori.cli import run
from malsori.errors import FileError, ModelError
from malsori.export.programs import ProgramExport
from malsori.export.web import RUNTIME, export_page, junctions, reading_facts
from malsori.text.frontend import Frontend
from malsori.text.hangul import CODAS, NUCLEI, ONSETS
from malsori.text.pronounce import INSIDE, STOP, WORD, resolve
from malsori.tts.options import SayOptions
from malsori.tts.voice import load_voice

from . import pages, small
from .test_folder import saved
from .test_whisper_programs import byte_files
from .test_whisper_programs import saved as saved_whisper

pytest.importorskip("onnx")

KINDS = ((INSIDE, ""), (WORD, ""), (STOP, ""), (INSIDE, "S"), (WORD, "S"), (INSIDE, "C"), (WORD, "C"))
KINDS += ((INSIDE, "A"), (WORD, "A"))
#: What only a page with a recognizer has.
LISTENING = {"listen.js", "recognizer.js", "hearing.js"}
#: Rules of every kind, words of the lexicon, -(으)ㄹ before dependent nouns; no homograph.
TEXTS = (
    "안녕하세요.",
    "국물이 맑아서, 닭이 앉는다!",
    "같이 굳이 갈 곳이 있어요?",
    "밝혀지다 좋아하다 않는다 싫다… 값이 없다.",
    "옷 안에 꽃 한 송이. 부엌 앞, 신라의 달님?",
    "여덟 몫 삶이 흙은 외곬",
    "열심히 할 수 있을 거예요. 물고기를 맑게 밟고, 값있게 볼게요!",
)


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return junctions()


def test_the_table_holds_what_every_junction_sounds_like(table: np.ndarray) -> None:
    facts, chance = reading_facts(), np.random.default_rng(0)
    assert table.shape == (len(KINDS), 2, 28, 19, 21) and table.dtype == np.dtype("<u2")
    assert facts["kinds"] == ["".join(kind) for kind in KINDS]
    for _ in range(3000):
        kind, coda, onset, nucleus = (int(chance.integers(size)) for size in (len(KINDS), 28, 19, 21))
        tail = ("", *CODAS)[int(chance.integers(28))]
        closed = int(tail not in facts["open_tails"])
        rest, vowel = divmod(int(table[kind, closed, coda, onset, nucleus]), len(NUCLEI))
        given = ("", *CODAS)[coda], ONSETS[onset], NUCLEI[nucleus]
        found = resolve(*given, tail, *KINDS[kind])
        sounds = (found.coda, found.onset, found.nucleus) if found.articles else given
        assert (facts["codas"][rest // 19], ONSETS[rest % 19], NUCLEI[vowel]) == sounds, (given, tail, kind)


def test_of_the_second_coda_a_junction_asks_only_what_the_table_knows() -> None:
    opened = reading_facts()["open_tails"]
    for coda, onset, nucleus, kind in itertools.product(("", *CODAS), "ㅎㅇㄱㄴ", "ㅣㅕㅏ", KINDS):
        for tail in ("", *CODAS):
            same_class = "" if tail in opened else "ㅁ"
            assert resolve(coda, onset, nucleus, tail, *kind) == resolve(coda, onset, nucleus, same_class, *kind)


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A folder that has the names of onnxruntime-web's files."""
    folder = tmp_path / "package" / "dist"
    folder.mkdir(parents=True)
    for name in RUNTIME:
        (folder / name).write_bytes(b"// " + name.encode())
    (folder.parent / "LICENSE").write_text("MIT", encoding="utf-8")
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_page_is_written_whole_and_again(tmp_path: Path, runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path / "acoustic", "fastspeech2", small.fastspeech2(), speakers=("가람", "나래", "다솜"))
    saved(tmp_path / "vocoder", "vocos", small.excited_vocos())
    saved_whisper(tmp_path / "whisper", byte_files(), vocab=268)
    given = ["export", str(tmp_path / "acoustic"), str(tmp_path / "page"), "--web", str(runtime)]
    given += ["--vocoder", str(tmp_path / "vocoder")]
    assert run([*given, "--recognizer", str(tmp_path / "whisper")]) == 0
    index = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert LISTENING | {"recognizer/recognizer.json", "recognizer/encoder.onnx"} < names(tmp_path / "page")
    assert 'src="hearing.js"' in index and "<!--" not in index
    assert run(given) == 0  # in its place, without a recognizer
    assert "python -m http.server" in capsys.readouterr().out
    made = names(tmp_path / "page")
    assert {
        "index.html",
        "voice/acoustic.onnx",
        "voice/vocoder.onnx",
        "onnxruntime/LICENSE",
        *(f"onnxruntime/{name}" for name in RUNTIME),
    } < made
    assert {path.name for path in files("malsori.export").joinpath("browser").iterdir()} - LISTENING < made
    assert not LISTENING & made and "listening" not in (tmp_path / "page" / "index.html").read_text("utf-8")
    assert len((tmp_path / "page" / "junctions.bin").read_bytes()) == 2 * len(KINDS) * 2 * 28 * 19 * 21
    assert json.loads((tmp_path / "page" / "voice" / "onnx.json").read_text("utf-8"))["weights"] == "float16"
    assert run([*given, "--shared-weights"]) == run([*given, "--for", "piper"]) == 2


def test_what_cannot_be_a_page_is_refused(tmp_path: Path, runtime: Path) -> None:
    with pytest.raises(ModelError, match="a page speaks with a voice that makes mels, and a conformer is none"):
        export_page("conformer-ko", tmp_path / "page", runtime)
    (runtime / RUNTIME[2]).unlink()
    with pytest.raises(FileError, match=rf"there is no {RUNTIME[2]}; give the folder 'dist' .*npm install"):
        export_page("fastspeech2-ko", tmp_path / "page", runtime)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(FileError, match="holds something else"):
        export_page("fastspeech2-ko", tmp_path / "mine", runtime)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A tab with the built-in voice's page in Chromium."""
    folder = tmp_path_factory.mktemp("pages") / "page"
    export_page("fastspeech2-ko", folder, pages.runtime(), ProgramExport("float32"))
    with pages.opened(folder) as tab:
        yield tab


@pytest.mark.slow
def test_what_is_typed_is_heard_in_the_browser(tab: Any) -> None:
    sent: list[str] = []
    tab.on("request", lambda asked: sent.append(asked.url))
    tab.fill("#text", "국물이 맛있어요. 3시에 만나요?")
    tab.select_option("#speaker", "kih")
    tab.click("#say")
    tab.wait_for_function("document.getElementById('sound').duration > 1")
    assert tab.inner_text("#pronounced") == "궁무리 마시써요. 시에 만나요?" and "3" in tab.inner_text("#unread")
    assert "real time" in tab.inner_text("#status") and all(url.startswith("blob:") for url in sent)
    content = tab.evaluate(
        "fetch(document.getElementById('file').href).then(a => a.arrayBuffer()).then(b => [...new Uint8Array(b)])"
    )
    assert bytes(content[:4]) == b"RIFF" and len(content) > 44 + 2 * 22050
    tab.fill("#text", "123")
    tab.click("#say")
    tab.wait_for_function("document.getElementById('status').textContent.includes('no Hangul')")


@pytest.mark.slow
def test_the_browser_reads_and_says_what_the_voice_does(tab: Any) -> None:
    voice = load_voice()
    voice.frontend = Frontend(morphology=False)
    for text in TEXTS:
        said = voice.say(text, SayOptions(speaker="kih", speed=1.2))
        asked = "([text]) => malsori.say(text, {speaker: 'kih', speed: 1.2}).then(a => [[...a.wave], a.reading])"
        wave, reading = tab.evaluate(asked, [text])
        assert reading["pronounced"].replace(" ", "") == said.reading.pronounced.replace(" ", ""), text
        assert len(wave) == len(said.wave) and np.abs(np.array(wave) - said.wave).max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_has_no_serious_fault_of_accessibility(tab: Any, width: int) -> None:
    assert not pages.faults(tab, width)
