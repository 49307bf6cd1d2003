"""Speaking: say, into a file, a pipe, the loudspeaker, or a file a line."""

import sys
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malsori.cli.alignment import AlignmentForm, alignment_as
from malsori.cli.options import (
    ClusterOption,
    DeviceOption,
    LexiconOption,
    PrecisionOption,
    RuntimeOption,
    ThreadsOption,
    cluster_executor,
    prepare_for,
)
from malsori.cli.terminal import text_of, watched, write
from malsori.errors import OptionError, TextError
from malsori.extras import import_extra
from malsori.files import require_place

if TYPE_CHECKING:
    from malsori.text.userwords import UserLexicon
    from malsori.tts.lines import SayAll
    from malsori.tts.options import SayOptions
    from malsori.tts.voice import Speech, Voice

app = typer.Typer()


_Text = Annotated[
    str | None, typer.Argument(help="What to say: the text itself, a text file, or - for standard input.")
]
_Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Sound file (.wav, .flac, .ogg, .opus, .mp3, .m4a, .aac); - for a pipe."),
]
_Voice = Annotated[str | None, typer.Option(help="A built-in voice, a folder, a run, or a hub id.")]
_Vocoder = Annotated[str | None, typer.Option(help="The same for the vocoder; griffin-lim for none.")]
_Speaker = Annotated[str | None, typer.Option(help="Who of the voice's speakers; --list names them.")]
_Speed = Annotated[float, typer.Option(help="2 is twice as fast; 0.2 to 5.")]
_Pitch = Annotated[float, typer.Option(help="Semitones up or down, to 9.")]
_Energy = Annotated[float, typer.Option(help="Louder or softer, -3 to 3 standard deviations; FastSpeech 2.")]
_Timing = Annotated[Path | None, typer.Option(help="Also write when each phone sounds: .TextGrid, .json, .srt, .vtt.")]
_Format = Annotated[
    str | None, typer.Option("--format", help="Of a pipe (pcm: 16-bit samples alone) or of --lines. [default: wav]")
]
_Lines = Annotated[bool, typer.Option("--lines", help="A file a line, into the folder -o; what is there is kept.")]
_Play = Annotated[bool, typer.Option("--play", help="Play it as it is made.")]
_List = Annotated[bool, typer.Option("--list", help="List the voice's speakers and leave.")]


@app.command("say")
def say(
    text: _Text = None,
    out: _Out = None,
    voice: _Voice = None,
    vocoder: _Vocoder = None,
    speaker: _Speaker = None,
    speed: _Speed = 1.0,
    pitch: _Pitch = 0.0,
    energy: _Energy = 0.0,
    lexicon: LexiconOption = None,
    timing: _Timing = None,
    form: _Format = None,
    lines: _Lines = False,
    play: _Play = False,
    listing: _List = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    runtime: RuntimeOption = "auto",
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Speak a text, with marks in it such as [pause:0.5] and {COEX|코엑스} (docs/speaking.md).

    Example: malsori say "오늘은 날씨가 참 좋네요." -o hello.wav --timing hello.TextGrid
    Example: malsori say book.txt --lines -o book/ --format mp3
    Example: malsori say "안녕하세요." -o - | aplay
    """
    from malsori.text.userwords import user_lexicon
    from malsori.tts.options import SayOptions

    options = SayOptions(speaker=speaker, speed=speed, pitch=pitch, energy=energy)
    if not listing:
        _check(text, out, form, timing, lines, play)
    if cluster and not lines:
        raise OptionError(f"--cluster {cluster}: is for --lines, a file a line")
    executor = cluster_executor(cluster, [], device=device, threads=threads)
    words, where = user_lexicon(lexicon), prepare_for(voice, "voice", runtime, device, precision, threads)
    said, speaking = text_of(text) if text and not listing else "", _load(voice, vocoder, words, where)
    if listing:
        print("\n".join(speaking.speakers or ("(one speaker without a name)",)))
    elif lines and out:
        others = _ClusterVoice(voice, vocoder, words, tuple(where.items()), options)
        say_all = partial(executor.map, others) if executor else None
        _say_lines(speaking, said, options, out, form or "wav", timing, say_all)
    else:
        _say_one(speaking, said, options, out, form, timing, play)


def _load(voice: str | None, vocoder: str | None, words: "UserLexicon", where: dict[str, str]) -> "Voice":
    from malsori.tts.voice import load_voice

    return load_voice(voice, vocoder, lexicon=words, **where)


def _check(text: str | None, out: Path | None, form: str | None, timing: Path | None, lines: bool, play: bool) -> None:
    """Refuse, before anything is loaded, what could not be written or played. Raises: OptionError, AudioError."""
    from malsori.audio.formats import require_format

    piped = str(out) == "-"
    if text is None:
        raise OptionError("nothing to say: give a text, a text file, or - for standard input")
    if out is None and not play:
        raise OptionError("nowhere to say it: give -o FILE, -o - for a pipe, or --play")
    if lines and (out is None or piped or play):
        raise OptionError("--lines: writes a file a line: give -o FOLDER, and no --play")
    if form and not (lines or piped):
        raise OptionError(f"--format {form}: is for -o - and --lines; a file's name says what it is")
    if lines and form == "pcm":
        raise OptionError("--format pcm: samples without a header are for a pipe, -o -")
    if out is not None:
        found = require_format(form or "wav" if lines or piped else out)
        if piped and not found.streams:
            raise OptionError(f"--format {form}: cannot be written to a pipe; wav, pcm, flac, ogg, opus and mp3 can")
    if timing:
        _timing_form(timing, lines)
    if play:
        _loudspeaker()
    require_place(None if piped else out, folder=lines)
    require_place(None if lines else timing)


def _timing_form(timing: Path, lines: bool) -> AlignmentForm:
    """Return what timing is written as. Raises: OptionError for a name that does not say so."""
    ending = timing.name.rpartition(".")[2].lower()
    form = AlignmentForm.__members__.get(ending)
    if form is None:
        raise OptionError(f"--timing {timing}: ends in none of .TextGrid, .json, .srt and .vtt")
    if lines and timing.name.rpartition(".")[0]:
        raise OptionError(
            f"--timing {timing}: with --lines it stands beside each sound; give its ending alone: .{ending}"
        )
    return form


def _say_one(
    voice: "Voice",
    text: str,
    options: "SayOptions",
    out: Path | None,
    form: str | None,
    timing: Path | None,
    play: bool,
) -> None:
    """Say a text into a file, a pipe or the loudspeaker."""
    piped = str(out) == "-"
    if piped and not (timing or play):
        from malsori.audio.formats import encode_stream

        chunks = (chunk.wave for chunk in voice.stream(text, options))
        for part in encode_stream(chunks, voice.audio.sample_rate, form or "wav"):
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
        return
    if play and out is None and not timing:
        _play(voice, text, options)
        return
    speech = voice.say(text, options)
    if piped:
        from malsori.audio.formats import encode

        sys.stdout.buffer.write(encode(speech.wave, speech.sample_rate, form or "wav"))
    elif out:
        speech.save(out)
    if timing:
        write(alignment_as(_timing_form(timing, lines=False), speech.alignment), timing)
    where = sys.stderr if piped else sys.stdout
    print(f"{out or timing}: {speech.seconds:.2f} s, made in {speech.real_time_factor:.3f} x real time", file=where)
    if play:
        _play(voice, text, options)


def _loudspeaker() -> Any:
    """Return what plays sounds. Raises: MissingExtraError or OptionError if there is none."""
    try:
        return import_extra("sounddevice", "--play")
    except OSError as error:
        raise OptionError(f"--play: {error}; install PortAudio (Debian: libportaudio2), or give -o FILE") from error


def _play(voice: "Voice", text: str, options: "SayOptions") -> None:
    """Play a text as it is made. Raises: OptionError if there is no loudspeaker."""
    sounddevice = _loudspeaker()
    chunks = voice.stream(text, options)
    try:
        with sounddevice.OutputStream(samplerate=voice.audio.sample_rate, channels=1, dtype="float32") as speaker:
            for chunk in chunks:
                speaker.write(chunk.wave[:, None])
    except sounddevice.PortAudioError as error:
        raise OptionError(f"--play: no sound can be played here ({error}); give -o FILE") from error


@dataclass(frozen=True)
class _ClusterVoice:
    """What a machine of a cluster says a line with: it loads the voice once; values as `load_voice` takes them."""

    voice: str | None
    vocoder: str | None
    words: "UserLexicon"
    where: tuple[tuple[str, str], ...]
    options: "SayOptions"

    def __call__(self, text: str) -> "Speech | TextError":
        """Return the speech of a text, or why there is none."""
        from malsori.tts.lines import say_or_error

        return say_or_error(_loaded(self.voice, self.vocoder, self.words, self.where), self.options, text)


@lru_cache(maxsize=1)
def _loaded(
    voice: str | None, vocoder: str | None, words: "UserLexicon", where: tuple[tuple[str, str], ...]
) -> "Voice":
    return _load(voice, vocoder, words, dict(where))


def _say_lines(
    voice: "Voice",
    text: str,
    options: "SayOptions",
    folder: Path,
    form: str,
    timing: Path | None,
    say_all: "SayAll | None" = None,
) -> None:
    """Say each line into a file of its own. Raises: TextError with the count, if any could not be said."""
    from malsori.tts.lines import LineOutput, parse_lines, say_lines

    lines = parse_lines(text)
    timing_form = _timing_form(timing, lines=True) if timing else None

    def also(speech: "Speech", path: Path) -> None:
        if timing and timing_form:
            write(alignment_as(timing_form, speech.alignment), path.with_suffix(timing.name))

    done = kept = 0
    failed = []
    output = LineOutput(folder, form, timing.name if timing else "", also)
    for result in watched(say_lines(voice, lines, options, output, say_all), len(lines)):
        if result.problem:
            print(f"malsori: line {result.line}: {result.problem}", file=sys.stderr)
            failed.append(result.line)
        done, kept = done + result.made, kept + (not result.made and not result.problem)
    print(f"{folder}: {done} lines spoken, {kept} were there already, {len(failed)} could not be")
    if failed:
        shown = ", ".join(map(str, failed[:10])) + (", ..." if len(failed) > 10 else "")
        raise TextError(f"{len(failed)} of {len(lines)} lines could not be spoken: {shown}")
