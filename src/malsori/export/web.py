"""A page that speaks in the browser, and listens if asked to: a folder for any web server, with onnxruntime-web alone.

    index.html, page.js, page.css   the page: type Korean, hear it
    voice.js                        text → phonemes → the voice's graphs → samples
    reading.js, reading.json, junctions.bin
                                    the pronunciation rules, as what every junction of two syllables makes of them
    voice/                          the exported voice, with its vocoder
    listen.js, recognizer.js        a file, the microphone or what was said → 16 kHz → windows → tokens → text
    recognizer/                     the recognizer (`web_recognizer`)
    hearing.js                      the page's part of it
    onnxruntime/                    onnxruntime-web's WebAssembly

`text.pronounce.resolve` knows a coda, the syllable after it and the marks between, and nothing more, so that a table of
all of them holds the rules whole. Marks and respellings come from the lexicon and from patterns, as where the front-end
has no morphological analyzer. Numbers, Latin letters and signs are left out and told; homographs are not told apart.
"""

import functools
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from malsori.errors import FileError, ModelError
from malsori.export.folder import check_opset, check_place, export_model
from malsori.export.programs import ProgramExport
from malsori.export.web_recognizer import check_recognizer, write_recognizer
from malsori.files import atomic_folder, write_json, write_text
from malsori.pretrained.folder import SavedModel
from malsori.pretrained.hub import load_saved
from malsori.systems import systems_of
from malsori.text.hangul import CODAS, NUCLEI, ONSETS
from malsori.text.lexicon import Lexicon
from malsori.text.plan import CONTENT_ARTICLE, rules_without_morphemes
from malsori.text.pronounce import CONTENT, INSIDE, STEM, STOP, TENSE_ADNOMINAL, WORD, resolve
from malsori.text.symbols import BETWEEN_SENTENCES_SECONDS, MAX_PHONEMES, PAUSE, SENTENCE_ENDS, SPACE, START

#: What of onnxruntime-web's `dist` a page needs; the second and third are what the first loads.
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_PAGE = ("page.js", "page.css", "voice.js", "reading.js")
_LISTENING = ("hearing.js", "listen.js", "recognizer.js")
_WRITTEN = (*_PAGE, *_LISTENING, "index.html", "reading.json", "junctions.bin", "voice", "recognizer", "onnxruntime")
#: What of index.html is there for a recognizer.
_LISTENING_PART = re.compile(r" *<!-- listening -->\n(.*?) *<!-- end of listening -->\n", re.DOTALL)
_HALF = ProgramExport("float16")
#: Kinds of junction, and the marks on them that a text without morphemes has.
_KINDS: tuple[tuple[str, str], ...] = (
    (INSIDE, ""),
    (WORD, ""),
    (STOP, ""),
    (INSIDE, STEM),
    (WORD, STEM),
    (INSIDE, CONTENT),
    (WORD, CONTENT),
)
_KINDS += ((INSIDE, TENSE_ADNOMINAL), (WORD, TENSE_ADNOMINAL))
#: Codas of the second syllable that -히- may have as a suffix, and one that it may not: all that a junction asks of it.
_TAILS = ("", "ㅁ")
_OPEN_TAILS = ("", "ㅆ", "ㅅ")


def export_page(
    name: str,
    folder: Path,
    runtime: Path,
    asked: ProgramExport = _HALF,
    recognizer: str | None = None,
) -> list[str]:
    """Write the page of a voice, whole or not at all, and return the names of what it holds.

    Args:
        name: a built-in name, a model's or run's folder, or a hub id.
        runtime: the folder `dist` of the npm package onnxruntime-web.
        asked: how it is exported.
        recognizer: a Whisper, named as the voice is, by which the page listens too; its weights become int8.
    Raises: FileError if the folder holds anything else than a page, or the runtime's lacks a file; ModelError for
        what is no voice that reads phonemes and makes mels, or no recognizer that a page can hear with.
    """
    check_place(folder, _WRITTEN)
    check_opset(asked.opset)
    missing = [file for file in RUNTIME if not (runtime / file).is_file()]
    if missing:
        raise FileError(
            f"{runtime}: there is no {missing[0]}; give the folder 'dist' of the npm package onnxruntime-web "
            "(npm install onnxruntime-web; then --web node_modules/onnxruntime-web/dist)"
        )
    _require_voice(load_saved(name), name)
    ear = load_saved(recognizer) if recognizer else None
    if ear and recognizer:
        check_recognizer(ear, recognizer)
    with atomic_folder(folder) as partial:
        export_model(name, partial / "voice", asked.dtype, asked.opset, asked.vocoder)
        if ear and recognizer:
            write_recognizer(ear, recognizer, partial / "recognizer", asked.opset)
        for file in (*_PAGE, *(_LISTENING if ear else ())):
            write_text(partial / file, _own(file))
        write_text(partial / "index.html", _LISTENING_PART.sub(r"\1" if ear else "", _own("index.html")))
        write_json(partial / "reading.json", reading_facts())
        (partial / "junctions.bin").write_bytes(junctions().tobytes())
        (partial / "onnxruntime").mkdir()
        for file in (*RUNTIME, *_licenses(runtime)):
            shutil.copyfile(runtime / file, partial / "onnxruntime" / Path(file).name)
        return sorted(path.name for path in partial.iterdir())


def _own(file: str) -> str:
    """Return the text of one of the page's files."""
    return files("malsori.export").joinpath("browser", file).read_text(encoding="utf-8")


def _require_voice(model: SavedModel, name: str) -> None:
    """Raise ModelError for what the page cannot say a text with."""
    if model.facts.system not in systems_of("acoustic model"):
        raise ModelError(f"{name}: a page speaks with a voice that makes mels, and a {model.facts.system} is none")
    if "phonemes" not in model.symbols:
        raise ModelError(f"{name}: reads letters of its makers; a page gets voices that read Korean phonemes")


def _licenses(runtime: Path) -> Iterator[str]:
    """Yield the runtime's license, where it lies beside or above it."""
    yield from (f"../{path.name}" for path in sorted(runtime.parent.glob("LICENSE*")) if path.is_file())


def reading_facts() -> dict[str, Any]:
    """Return what `reading.js` needs to know of the alphabets and of the layout of phonemes."""
    return {
        "onsets": list(ONSETS),
        "nuclei": list(NUCLEI),
        "codas": ["", *CODAS],
        "open_tails": list(_OPEN_TAILS),
        "kinds": ["".join(kind) for kind in _KINDS],
        "patterns": rules_without_morphemes(),
        "words": {one.word: one.spoken if one.spoken != one.word else "" for one in Lexicon().respelled()},
        "content_words": [one.word for one in Lexicon().respelled() if one.article == CONTENT_ARTICLE],
        "start": START,
        "space": SPACE,
        "pause": PAUSE,
        "ends": list(SENTENCE_ENDS),
        "max_phonemes": MAX_PHONEMES,
        "between_sentences_seconds": BETWEEN_SENTENCES_SECONDS,
    }


@functools.cache
def junctions() -> np.ndarray:
    """Return what each junction sounds like, uint16 (kinds, tails, codas, onsets, nuclei).

    An entry is (coda * onsets + onset) * nuclei + nucleus, by their places in `reading_facts`; codas begin with none.
    """
    codas = ("", *CODAS)
    shape = len(_KINDS), 1, len(codas), len(ONSETS), len(NUCLEI)
    entries = (_packed(*place, _TAILS[0]) for place in product(_KINDS, codas, ONSETS, NUCLEI))
    table = np.fromiter(entries, dtype="<u2").reshape(shape).repeat(len(_TAILS), axis=1)
    closed = [_packed(*place, _TAILS[1]) for place in product(_KINDS, codas, "ㅎ", NUCLEI)]  # -히- asks of no other
    table[:, 1, :, ONSETS.index("ㅎ")] = np.array(closed).reshape(len(_KINDS), len(codas), len(NUCLEI))
    table.setflags(write=False)  # it is kept
    return table


def _packed(kind: tuple[str, str], coda: str, onset: str, nucleus: str, tail: str) -> int:
    codas = ("", *CODAS)
    found = resolve(coda, onset, nucleus, tail, *kind)
    sounds = (found.coda, found.onset, found.nucleus) if found.articles else (coda, onset, nucleus)
    place = codas.index(sounds[0]) * len(ONSETS) + ONSETS.index(sounds[1])
    return place * len(NUCLEI) + NUCLEI.index(sounds[2])
