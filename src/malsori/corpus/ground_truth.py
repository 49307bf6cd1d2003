"""From recordings to what models learn from: trimmed waves, log-mel spectrograms, pitch and energy, in one folder.

    layouts ─► each utterance, in several processes: read the text, load, trim, cut to whole hops ─► wave/
               mel, pitch, energy ─► ground_truth/                     ─► cuts.jsonl.gz, corpus.json

Each file is written whole or not at all and carries a key of what it was made from, so that a run interrupted anywhere
resumes where it was and ends in the same bytes as an uninterrupted one.
"""

import functools
import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from malsori.annotations import Float
from malsori.audio.io import open_sound, read_sound, save_audio
from malsori.audio.pitch import DEFAULT_TRACKER, PitchTracker
from malsori.config import RECOGNITION_AUDIO, AudioConfig, Config
from malsori.corpus import folder, merge
from malsori.corpus.claim import claim, claim_merge, held_corpus, lexicon_of, tracker_of
from malsori.corpus.folder import OLD_TRACKER
from malsori.corpus.layouts import SPLITS, Listing, read_layout
from malsori.corpus.merge import Made
from malsori.corpus.pool import MAX_WORKERS, Executor, run_in_order
from malsori.errors import AudioError, CorpusError, TextError
from malsori.files import write_json
from malsori.readers.records import Refusal, Utterance
from malsori.text.userwords import UserLexicon, user_lexicon

if TYPE_CHECKING:
    from lhotse import MonoCut

    from malsori.text.frontend import Frontend, Reading

logger = logging.getLogger(__name__)

#: Part of every file's key: raised whenever the same recording would give other numbers.
GROUND_TRUTH_VERSION = 1

#: Silence is what lies this far below the utterance's loudest 10 ms: in studio recordings rooms lie 65 dB below and
#: more, the softest first and last sounds above -40 dB; in a noisy hall nothing lies below it, and nothing is cut.
SILENCE_DB = -45.0

#: Silence kept before the first sound and after the last, in seconds.
KEPT_SILENCE_SECONDS = 0.1

#: A recording whose loudest 10 ms stay below this holds no speech (16-bit noise alone lies near -98 dB).
SILENT_DB_FULL_SCALE = -60.0

#: No Korean sentence is spoken in less.
SHORTEST_SECONDS = 0.2

_LEVEL_SECONDS = 0.01  # length of the pieces whose loudness is compared


class PrepareOptions(Config):
    """How `prepare` works; the command line and Python read the same defaults.

    pitch_tracker: who finds F0; None goes on with whoever began the corpus, and is our own for a new one.
    lexicon: tables of a user's words that texts are read by; none goes on with those that the corpus has.
    merge: add the source to the corpus of another one that the folder holds.
    """

    layout: str = "auto"  # or a name of layouts.LAYOUTS
    columns: str | None = None  # of a table, such as "path,speaker,_,text"; None looks
    audio: AudioConfig = AudioConfig()
    pitch_tracker: PitchTracker | None = None
    lexicon: tuple[str, ...] = ()
    workers: int = Field(0, ge=0, le=MAX_WORKERS)  # 0: one for each processor
    merge: bool = False


def audio_at(rate: int) -> AudioConfig:
    """Return the spectrogram settings for a sample rate: 22050 for voices, 16000 for recognisers.

    Raises: CorpusError for any other.
    """
    known = {audio.sample_rate: audio for audio in (AudioConfig(), RECOGNITION_AUDIO)}
    if rate not in known:
        raise CorpusError(f"rate {rate}: {' and '.join(map(str, sorted(known)))} Hz are accepted")
    return known[rate]


@dataclass(frozen=True)
class Summary:
    """What `prepare` made: utterances and hours by split, speakers, and what was skipped with its reasons."""

    path: Path
    utterances: dict[str, int]
    hours: dict[str, float]
    speakers: tuple[str, ...]
    refused: tuple[Refusal, ...]
    reused: int

    @property
    def skipped(self) -> dict[str, list[str]]:
        """The ids of what was skipped, by reason."""
        reasons = sorted({item.reason for item in self.refused})
        return {reason: [item.id for item in self.refused if item.reason == reason] for reason in reasons}

    def lines(self) -> Iterator[str]:
        """Yield the summary as text."""
        for split, count in self.utterances.items():
            yield f"{split:6} {count:6} utterances {self.hours[split]:8.3f} hours"
        yield f"{len(self.speakers)} speakers, {len(self.refused)} utterances skipped, {self.reused} made before"
        for reason, ids in self.skipped.items():
            yield f"  {reason}: {len(ids)} ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''})"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "corpus": str(self.path),
            "utterances": self.utterances,
            "hours": {split: round(hours, 4) for split, hours in self.hours.items()},
            "speakers": list(self.speakers),
            "skipped": self.skipped,
            "reused": self.reused,
        }


@dataclass(frozen=True)
class _Job:
    utterance: Utterance
    out: Path
    audio: AudioConfig
    tracker: PitchTracker
    lexicon: UserLexicon
    file_id: str
    merged_from: str = ""


def prepare(
    source: Path, out: Path, options: PrepareOptions | None = None, executor: Executor | None = None
) -> Summary:
    """Return the summary of a self-contained corpus folder made from a folder of recordings.

    Args:
        source: folder in one of the layouts of `malsori.corpus.layouts`; it is only read.
        out: folder to make, or to go on with.
        executor: does the work on other machines, which see both folders under these paths.
    Raises: CorpusError if the source has no utterance that can be used, or `out` holds something else: another
        source's corpus is never gone on with (`malsori.corpus.claim`), and added to on request only; or if another
        process is preparing it.
    """
    options = options or PrepareOptions()
    listing = read_layout(source, options.layout, options.columns)
    for note in listing.notes:
        logger.info("%s", note)
    with held_corpus(source, out, options.merge):
        return _prepare(source, out, listing, options, executor)


def _prepare(source: Path, out: Path, listing: Listing, options: PrepareOptions, executor: Executor | None) -> Summary:
    words = user_lexicon(options.lexicon) if options.lexicon else lexicon_of(out)
    tracker = options.pitch_tracker or tracker_of(out)

    def job(item: Utterance) -> _Job:
        return _Job(item, out, options.audio, tracker, words, safe_name(item.id), place)

    place = str(source.resolve()) if options.merge else ""
    others = merge.kept(out, place)
    placed = list(merge.beside(out, source, listing.utterances, others, safe_name, lambda item: _key(job(item))))
    jobs = [job(item) for item in placed if isinstance(item, Utterance)]
    if options.merge:
        origin = claim_merge(source, out, options.audio, tracker)
    else:
        origin = claim(source, out, options.audio, tracker, lambda: {job.file_id: _key(job) for job in jobs})
        origin |= {"lexicon": words.as_rows()} if words.words else {}
        write_json(out / folder.MARKER, origin)
    jobs.sort(key=lambda job: job.utterance.audio_path)  # neighbours lie in one file where many share one
    results = list(run_in_order(_make, jobs, options.workers, "preparing", executor=executor))
    made = [item for item in results if isinstance(item, Made)]
    refused = [item for item in (*listing.refused, *placed, *results) if isinstance(item, Refusal)]
    refused.sort(key=_by_id)
    for item in refused:
        logger.warning("skipped %s: %s (%s)", item.id, item.reason, item.detail)
    if not made:
        counts = Counter(item.reason for item in refused).items()
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(counts))
        raise CorpusError(f"{source}: none of {len(refused)} utterances can be used: {told}")
    summary = _summarize(out, [*others, *made], tuple(refused), options.audio)
    _finish(summary, [*others, *made], {"layout": listing.layout, **origin}, options.audio)
    return summary


def trimmed(wave: Float[np.ndarray, " samples"], audio: AudioConfig) -> Float[np.ndarray, " kept"]:
    """Return the wave with at most 0.1 s of silence at each end, a whole number of hops long.

    Silence is judged against the utterance's own loudest 10 ms (see SILENCE_DB); sound is never cut, but for less than
    a hop at the end.
    Raises: AudioError if the wave is silent, or too short to measure.
    """
    piece = round(_LEVEL_SECONDS * audio.sample_rate)
    whole = wave[: len(wave) // piece * piece].reshape(-1, piece)
    level = 10 * np.log10(np.square(whole, dtype=np.float64).mean(axis=1) + 1e-20)
    if not len(level) or level.max() < SILENT_DB_FULL_SCALE:
        loudest = f"{level.max():.0f} dB" if len(level) else "nothing"
        raise AudioError(f"silent: the loudest 10 ms are {loudest}, speech is above {SILENT_DB_FULL_SCALE:.0f} dB")
    loud = np.flatnonzero(level > level.max() + SILENCE_DB)
    margin = round(KEPT_SILENCE_SECONDS * audio.sample_rate)
    # What is left over of the last, incomplete piece counts as sound only if the piece before it does.
    end = len(wave) if loud[-1] == len(level) - 1 else (loud[-1] + 1) * piece + margin
    kept = wave[max(0, loud[0] * piece - margin) : end]
    kept = kept[: len(kept) // audio.hop_samples * audio.hop_samples]
    shortest = max(SHORTEST_SECONDS, audio.fft_samples / audio.sample_rate)
    if len(kept) < shortest * audio.sample_rate:
        raise AudioError(f"too short: {len(kept) / audio.sample_rate:.2f} s, at least {shortest:.2f} s are needed")
    return kept


def measure(
    wave: Float[np.ndarray, " samples"], audio: AudioConfig, tracker: PitchTracker = DEFAULT_TRACKER
) -> dict[str, np.ndarray]:
    """Return mel (frames, mel_channels), pitch_hz (frames,) and energy (frames,) of a wave, all float32."""
    import torch

    from malsori.audio.mel import log_mel
    from malsori.audio.pitch import energy, pitch_hz

    mel = log_mel(torch.from_numpy(wave)[None], audio)[0].numpy()
    return {"mel": mel, "pitch_hz": pitch_hz(wave, audio, tracker), "energy": energy(mel)}


def reading(text: str, lexicon: UserLexicon = UserLexicon()) -> "Reading":  # noqa: B008 -- frozen, and empty
    """Return what the front-end makes of a text, as training and speaking will. Raises: TextError if it cannot."""
    return _frontend(lexicon).read(text)


def usable_wave(utterance: Utterance, audio: AudioConfig) -> np.ndarray | Refusal:
    """Return the trimmed wave (samples,) of an utterance at audio.sample_rate, or why it is of no use."""
    try:
        sound = read_sound(utterance.audio_path, audio.sample_rate)
    except AudioError as error:
        return Refusal(utterance.id, "sound cannot be read", str(error))
    if sound.missing:
        return Refusal(utterance.id, "sound is cut short or damaged", f"{utterance.audio_path}: {sound.missing}")
    try:
        return trimmed(sound.wave, audio)
    except AudioError as error:
        return Refusal(utterance.id, str(error).partition(":")[0], f"{utterance.audio_path}: {error}")


def safe_name(utterance_id: str) -> str:
    """Return an id that is a file name anywhere: letters, digits, '_', '-', '.'; changed ones end in their hash.

    >>> safe_name("lmy01001")
    'lmy01001'
    >>> safe_name("a/b c")
    'a_b_c-0af99a60'
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", utterance_id).lstrip(".-")[:100]
    digest = hashlib.sha256(unicodedata.normalize("NFC", utterance_id).encode()).hexdigest()[:8]
    return safe if safe == utterance_id else f"{safe}-{digest}"


@functools.lru_cache(maxsize=1)
def _frontend(lexicon: UserLexicon) -> "Frontend":
    from malsori.text.frontend import Frontend

    return Frontend(lexicon)


def _make(job: _Job) -> Made | Refusal:
    """Make one utterance's wave and ground truth, or find that an earlier run has."""
    item = job.utterance
    wave_path = job.out / "wave" / f"{job.file_id}.flac"
    truth_path = job.out / "ground_truth" / f"{job.file_id}.safetensors"
    try:
        reading(item.spoken, job.lexicon)
    except TextError as error:
        return Refusal(item.id, "text cannot be read", str(error))
    key = _key(job)
    if wave_path.is_file() and key and folder.read_keys(truth_path)[0] == key:
        return Made(job.file_id, item, folder.count_frames(truth_path), True, job.merged_from)
    wave = usable_wave(item, job.audio)
    if isinstance(wave, Refusal):
        return wave
    # Measured is what is written: 16 bits.
    wave = (np.rint(wave * 32768).clip(-32768, 32767) / 32768).astype(np.float32)
    arrays = measure(wave, job.audio, job.tracker)
    if not arrays["pitch_hz"].any():
        return Refusal(item.id, "no voice", f"{item.audio_path}: no frame has a pitch: noise or a whisper")
    save_audio(wave_path, wave, job.audio.sample_rate)
    folder.write_ground_truth(truth_path, arrays, key)
    return Made(job.file_id, item, len(arrays["mel"]), False, job.merged_from)


def _key(job: _Job) -> str:
    """Return the digest of all that an utterance's files depend on: the recording's bytes, its text, the settings.

    It is "" where the recording cannot be opened: loading it will say why.
    """
    try:
        with open_sound(job.utterance.audio_path) as file:
            content = file.read()
    except (AudioError, OSError):
        return ""
    trim = (GROUND_TRUTH_VERSION, SILENCE_DB, KEPT_SILENCE_SECONDS)
    tracker = "" if job.tracker == OLD_TRACKER else f"{job.tracker} "  # the first one, once the only one: no trace
    settings = f"{tracker}{job.audio.fingerprint()} {trim} {job.utterance.spoken}"
    return hashlib.sha256(settings.encode() + b"\0" + content).hexdigest()


def _finish(summary: Summary, made: list[Made], origin: dict[str, Any], audio: AudioConfig) -> None:
    """Write cuts.jsonl.gz and corpus.json, remove what belongs to no utterance, and lift the marker."""
    from malsori.text.frontend import FRONTEND_VERSION

    out = summary.path
    folder.sweep(out / "wave", {f"{item.file_id}.flac" for item in made})
    folder.sweep(out / "ground_truth", {f"{item.file_id}.safetensors" for item in made})
    by_id = sorted(made, key=lambda item: (bool(item.merged_from), item.utterance.id))
    folder.write_cuts(out / "cuts.jsonl.gz", (_cut(item, audio) for item in by_id))
    merged = sorted({item.merged_from for item in made if item.merged_from})
    facts = {
        "format": folder.FORMAT,
        **origin,
        **({"merged": merged} if merged else {}),
        "fingerprint": audio.fingerprint(),
        "frontend": FRONTEND_VERSION,
        "speakers": list(summary.speakers),
        "utterances": summary.utterances,
        "hours": {split: round(hours, 4) for split, hours in summary.hours.items()},
        "skipped": summary.skipped,
    }
    write_json(out / "corpus.json", facts)
    (out / folder.MARKER).unlink()


def _cut(item: Made, audio: AudioConfig) -> "MonoCut":
    from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

    samples = item.frames * audio.hop_samples
    seconds = samples / audio.sample_rate
    said = item.utterance
    sources = [AudioSource(type="file", channels=[0], source=f"wave/{item.file_id}.flac")]
    recording = Recording(item.file_id, sources, audio.sample_rate, samples, seconds)
    custom = {"written": said.written, "split": said.split}
    if said.id != item.file_id:
        custom["original_id"] = said.id
    if item.merged_from:
        custom["merged_from"] = item.merged_from
    supervision = SupervisionSegment(
        item.file_id, item.file_id, 0.0, seconds, 0, said.spoken, "ko", said.speaker, custom=custom
    )
    truth = {"ground_truth": f"ground_truth/{item.file_id}.safetensors"}
    return MonoCut(item.file_id, 0.0, seconds, 0, [supervision], recording=recording, custom=truth)


def _summarize(out: Path, made: list[Made], refused: tuple[Refusal, ...], audio: AudioConfig) -> Summary:
    utterances: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    for item in made:
        utterances[item.utterance.split] += 1
        frames[item.utterance.split] += item.frames
    hours = {split: frames[split] * audio.frame_seconds / 3600 for split in SPLITS}
    speakers = tuple(sorted({item.utterance.speaker for item in made}))
    counts = {split: utterances[split] for split in SPLITS}
    return Summary(out, counts, hours, speakers, refused, sum(item.reused for item in made))


def _by_id(item: Refusal) -> tuple[str, str]:
    return item.id, item.reason
