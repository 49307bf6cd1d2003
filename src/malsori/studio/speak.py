"""Speak: a text → rules with their articles, phonemes, durations over the spectrogram, and the sound."""

from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from malsori.errors import TextError
from malsori.report.page import player
from malsori.report.plots import speech_figure
from malsori.serve.state import Facts, Server, ServerState
from malsori.serve.streams import while_present
from malsori.studio.render import DRAWN_SECONDS, answer, draw, textgrid
from malsori.text.userwords import lexicon_of_rows
from malsori.tts.options import SayOptions
from malsori.tts.voice import Speech

router = APIRouter()


class SpeakForm(BaseModel):
    """A text, how to speak it, and words with how they are read."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1)]
    voice: str
    speed: float = 1.0
    pitch: float = 0.0
    energy: float = 0.0
    word: Annotated[list[str], Field(default_factory=list, max_length=1000)]
    reading: Annotated[list[str], Field(default_factory=list, max_length=1000)]


@router.post("/speak")
async def speak(asked: Annotated[SpeakForm, Form()], request: Request, server: Server, facts: Facts) -> Response:
    """Speak a text, and show every step of it."""
    server.check_text(asked.text, "text")
    name, _, speaker = asked.voice.partition(" · ")
    model = server.models.resolve("voice", name)
    facts.update(model=model.name, characters=len(asked.text))
    options = SayOptions(speaker=speaker or None, speed=asked.speed, pitch=asked.pitch, energy=asked.energy)
    with server.jobs.admission():
        shown = server.jobs.run(_speak, server, model.name, asked, options)
        speech, figure = await while_present(request, shown)
    server.metrics.sound_seconds.labels("spoken").inc(speech.seconds)
    return answer(
        request,
        "speak.html",
        speech=speech,
        reading=speech.reading,
        player=player(speech.wave, speech.sample_rate),
        picture=figure,
        cut=speech.seconds > DRAWN_SECONDS,
        textgrid=textgrid(speech.alignment),
    )


def voice_names(server: ServerState) -> list[str]:
    """Return who can speak, the server's own voice first: a voice's name, and its speaker where there are several."""
    default = server.models.defaults["voice"]
    voices = sorted(
        (model for model in server.models.served.values() if model.role == "voice"),
        key=lambda model: model.name != default,
    )
    return [
        f"{model.name} · {speaker}" if speaker else model.name
        for model in voices
        for speaker in model.speakers or ("",)
    ]


def _speak(server: ServerState, model: str, asked: SpeakForm, options: SayOptions) -> tuple[Speech, str]:
    """Return the speech and its picture."""
    if len(asked.word) != len(asked.reading):
        raise TextError(f"lexicon: {len(asked.word)} words for {len(asked.reading)} readings; give as many")
    voice = server.models.voice(model)
    rows = [pair for pair in zip(asked.word, asked.reading, strict=True) if any(pair)]
    if rows:
        voice = voice.with_lexicon(lexicon_of_rows(rows, "lexicon"))
    speech = voice.say(asked.text, options)
    audio, seconds = speech.audio, min(speech.seconds, DRAWN_SECONDS)
    wave, mel = speech.wave[: round(seconds * audio.sample_rate)], speech.mel[: round(seconds / audio.frame_seconds)]
    figure = draw(lambda: speech_figure(wave, mel, audio, speech.alignment), speech.reading.written)
    return speech, figure
