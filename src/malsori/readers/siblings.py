"""A text file for each recording: beside it, or under the same name in a folder of texts.

a.wav  a.txt                       flat: in one folder, or in a folder for each speaker
wav/[SPEAKER/]a.wav                vctk, emotiontts: folders of sounds and of texts beside each other; script/ holds
txt/[SPEAKER/]a.txt [script/a.txt] what is written where transcript/ holds what is said
"""

from collections import defaultdict
from pathlib import Path

from malsori.errors import CorpusError
from malsori.readers.files import Tree, read_text, why_unread
from malsori.readers.records import Found, Note, Refusal, Utterance, to_nfc, utterance

_SOUND_FOLDERS = "wav wavs wav48_silence_trimmed wav48 flac audio audios clips sound mp3 음성".split()  # noqa: SIM905
_TEXT_FOLDERS = "transcript transcripts txt text texts transcription transcriptions lab labels label 전사".split()  # noqa: SIM905
_TEXT_ENDINGS = (".normalized.txt", ".txt", ".lab")
_WRITTEN = "script"  # beside transcript/
_OTHER_MICROPHONE = "_mic2"


def paired_folders(tree: Tree) -> list[tuple[Path, Path]]:
    """Return folders of sounds with the folder of texts that stands beside each."""
    below: dict[Path, set[str]] = defaultdict(set)
    for path in tree.files:
        for folder in path.relative_to(tree.root).parents:
            below[tree.root / folder.parent].add(folder.name)
    pairs = []
    for parent, names in below.items():
        lower = {name.casefold(): name for name in names}
        texts = next((lower[name] for name in _TEXT_FOLDERS if name in lower), None)
        pairs += [(parent / lower[name], parent / texts) for name in _SOUND_FOLDERS if name in lower and texts]
    return sorted(pairs)


def read_paired_folders(tree: Tree) -> Found:
    """Yield an utterance for each sound in a folder of sounds that has its text in the folder beside it."""
    files = set(tree.files)
    for sounds, texts in paired_folders(tree):
        inside = [path for path in files if path.is_relative_to(texts) and _text_ending(path)]
        by_path = {_key(path.relative_to(texts)): path for path in sorted(inside)}
        used: set[Path | None] = set()
        yield Note(f"{sounds}: texts of the same names from {texts}")
        for path in (path for path in tree.sounds.paths() if path.is_relative_to(sounds)):
            place = path.relative_to(sounds)
            if path.stem.endswith(_OTHER_MICROPHONE) and path.with_stem(path.stem[: -len("2")] + "1") in files:
                yield Refusal(to_nfc(path.stem), "another microphone of the same recording", str(path))
                continue
            transcript = by_path.get(_key(place)) or by_path.get(_key(Path(place.name)))
            used.add(transcript)
            speaker = place.parts[0] if len(place.parts) > 1 else sounds.resolve().parent.name
            script = texts.with_name(_WRITTEN) / transcript.relative_to(texts) if transcript else None
            yield _utterance(path, transcript, script, speaker, texts)
        for path in by_path.values():
            if path not in used:
                yield Refusal(to_nfc(path.stem), "no recording", f"{path}: {sounds.name}/ has no '{path.stem}'")


def flat_texts(tree: Tree) -> dict[Path, Path]:
    """Return sound file → the text file beside it of the same name."""
    texts = _texts(tree)
    found = ((path, texts.get((str(path.parent), _key(Path(path.name))))) for path in tree.sounds.paths())
    return {path: text for path, text in found if text}


def read_flat(tree: Tree) -> Found:
    """Yield an utterance for each sound with a text file of its name beside it; the folder's name is the speaker's."""
    texts = flat_texts(tree)
    yield Note(f"{tree.root}: a text file beside each recording, the folder's name for the speaker's")
    for path in tree.sounds.paths():
        original = path.with_suffix(".original.txt")  # as LibriTTS has it, beside the normalized one
        yield _utterance(path, texts.get(path), original, path.resolve().parent.name, path.parent)
    used = set(texts.values())
    folders = {path.parent for path in texts}
    for text in _texts(tree).values():
        if text.parent in folders and text not in used and not text.name.casefold().startswith(("readme", "license")):
            yield Refusal(to_nfc(text.stem), "no recording", f"{text}: no sound file of that name beside it")


def _utterance(
    path: Path, transcript: Path | None, script: Path | None, speaker: str, texts: Path
) -> Utterance | Refusal:
    """Return the utterance of a sound with its text (as spoken) and script (as written)."""
    name = to_nfc(path.stem)
    if transcript is None:
        return Refusal(name, "no transcript", f"{path}: {texts / path.stem}.txt is missing")
    try:
        spoken = read_text(transcript)
        written = read_text(script) if script and script.is_file() else spoken
    except CorpusError as error:
        return Refusal(name, why_unread(error), str(error))
    return utterance(path, written, spoken, speaker)


def _texts(tree: Tree) -> dict[tuple[str, str], Path]:
    """Return the text file of each folder and name without ending; the first ending of _TEXT_ENDINGS counts."""
    found: dict[tuple[str, str], Path] = {}
    texts = [path for path in tree.files if _text_ending(path)]
    for path in sorted(texts, key=lambda path: _TEXT_ENDINGS.index(_text_ending(path))):
        found.setdefault((str(path.parent), _key(Path(path.name))), path)
    return found


def _text_ending(path: Path) -> str:
    name = path.name.casefold()
    if name.endswith((".trans.txt", ".original.txt")):
        return ""
    return next((ending for ending in _TEXT_ENDINGS if name.endswith(ending)), "")


def _key(place: Path) -> str:
    """Return a path without the ending of a sound or a text, or the mark of a microphone, in one form and case."""
    name = to_nfc(place.as_posix()).casefold()
    ending = next((ending for ending in _TEXT_ENDINGS if name.endswith(ending)), to_nfc(place.suffix).casefold())
    return name[: len(name) - len(ending)].removesuffix("_mic1")
