"""A second source in a corpus folder: what of the others stays, and under which ids its own stand beside them.

The first source's cuts name no source, those of each other one its resolved path (`merged_from`): so each can be gone
on with alone, and an interrupted merge ends as an uninterrupted one. Where an id is taken already, the same recording
with the same text is told and left as it is; another one takes the name of its source in front.
"""

import gzip
import json
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from malsori.corpus import folder
from malsori.errors import CorpusError
from malsori.readers.records import Refusal, Utterance

logger = logging.getLogger(__name__)

_SHOWN = 5  # ids in a message


@dataclass(frozen=True)
class Made:
    """An utterance whose files stand in the folder; `reused` when an earlier run had made it."""

    file_id: str
    utterance: Utterance
    frames: int
    reused: bool
    merged_from: str = ""


def kept(out: Path, place: str) -> list[Made]:
    """Return what stands in a corpus folder of other sources than the one at `place` ("": than the first)."""
    from safetensors import SafetensorError

    cuts = out / "cuts.jsonl.gz"
    if not cuts.is_file():
        return []
    try:
        found = [json.loads(line) for line in gzip.decompress(cuts.read_bytes()).splitlines()]
        others = [cut for cut in found if cut["supervisions"][0]["custom"].get("merged_from", "") != place]
        return [_made(out, cut) for cut in others]
    except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error, SafetensorError) as error:
        raise CorpusError(f"{cuts}: damaged, or a file that it names: {error}; prepare in another folder") from error


def beside(
    out: Path,
    source: Path,
    utterances: Sequence[Utterance],
    others: Sequence[Made],
    name: Callable[[str], str],
    key: Callable[[Utterance], str],
) -> Iterator[Utterance | Refusal]:
    """Yield a source's utterances under ids that those of the others leave free, or why one is not taken.

    Args:
        name: returns the file id of an id.
        key: returns the digest of all that an utterance's files depend on.
    """
    taken = {item.file_id for item in others}
    renamed: list[str] = []
    speakers = {item.utterance.speaker for item in others} & {item.speaker for item in utterances}
    if speakers:
        logger.info("merging: taken for the same speaker in both: %s", ", ".join(sorted(speakers)))
    for item in utterances:
        another = replace(item, id=f"{source.resolve().name}-{item.id}")
        if name(item.id) not in taken:
            yield item
        elif made_by(out, name(item.id), key(item)):
            yield Refusal(item.id, "in the corpus already", f"{item.audio_path}: the same recording and text")
        elif name(another.id) in taken:
            yield Refusal(item.id, "same id twice", f"{item.audio_path}: '{another.id}' is taken too")
        else:
            renamed.append(item.id)
            yield another
    if renamed:
        told = ", ".join(renamed[:_SHOWN]) + (", ..." if len(renamed) > _SHOWN else "")
        what = f"{len(renamed)} ids are of other utterances there and take '{source.resolve().name}-' in front"
        logger.info("merging: %s: %s", what, told)


def made_by(out: Path, file_id: str, key: str) -> bool:
    """Return whether the files of an utterance in a corpus folder were made from what this key says."""
    return folder.read_keys(out / "ground_truth" / f"{file_id}.safetensors")[0] == key


def _made(out: Path, cut: dict[str, Any]) -> Made:
    """Return what a line of cuts.jsonl.gz says, such that the same line is written for it again."""
    said, sound = cut["supervisions"][0], cut["recording"]["sources"][0]["source"]
    notes = said["custom"]
    original = notes.get("original_id", cut["id"])
    item = Utterance(original, out / sound, notes["written"], said["text"], said["speaker"], notes["split"])
    frames = folder.count_frames(out / cut["custom"]["ground_truth"])
    return Made(cut["id"], item, frames, reused=True, merged_from=notes.get("merged_from", ""))
