"""Runs: curves, warnings and samples by step of the runs in the operator's folder."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from malsori.pretrained.folder import SavedModel, open_model, read_model_facts
from malsori.report.curves import curves_page
from malsori.report.page import player
from malsori.serve.errors import HttpError
from malsori.serve.settings import ServeSettings
from malsori.serve.state import Server
from malsori.serve.streams import while_present
from malsori.studio.render import answer, language_of, words
from malsori.systems import systems_of
from malsori.train.checkpoint import checkpoint_steps, model_at
from malsori.tts.roles import Vocoder
from malsori.tts.vocoders import GRIFFIN_LIM, load_vocoder
from malsori.tts.voice import Voice, open_synthesizer

router = APIRouter()

_MAX_RUNS = 8


class RunsForm(BaseModel):
    """The runs to look at."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[list[str], Field(min_length=1, max_length=_MAX_RUNS)]


class SamplesForm(BaseModel):
    """A run of a voice, and what it is to say."""

    model_config = ConfigDict(extra="forbid")

    name: str
    text: Annotated[str, Field(min_length=1, max_length=200)]


@router.post("/runs")
async def show_runs(asked: Annotated[RunsForm, Form()], request: Request, server: Server) -> Response:
    """Return the curves and warnings of runs."""
    chosen = [run_named(server.settings, name) for name in asked.name]
    with server.jobs.admission():
        return HTMLResponse(await while_present(request, server.jobs.run(_curves, chosen)))


@router.post("/samples")
async def samples(asked: Annotated[SamplesForm, Form()], request: Request, server: Server) -> Response:
    """Speak a text with the weights of each saved step, and with the run's best."""
    run, told = run_named(server.settings, asked.name), words()
    language, made = language_of(request), []
    with server.jobs.admission():
        for step in [*checkpoint_steps(run), None]:
            label = told["best_model"][language] if step is None else f"{told['step'][language]} {step:,}"
            made.append((label, await while_present(request, server.jobs.run(_say, run, step, asked.text))))
    return answer(request, "samples.html", samples=made)


def runs_of(settings: ServeSettings) -> dict[str, Path]:
    """Return the runs that the operator shows, by name, the latest first."""
    folder = Path(settings.runs)
    found = [path.parent for path in folder.glob("*/metrics.jsonl") if path.stat().st_size]
    return {run.name: run for run in sorted(found, key=lambda run: -(run / "metrics.jsonl").stat().st_mtime)}


def run_named(settings: ServeSettings, name: str) -> Path:
    """Return one of these. Raises: HttpError 404 for any other name."""
    run = runs_of(settings).get(name)
    if run is None:
        raise HttpError(404, f"no run '{name[:40]}'", "run_not_found", "name")
    return run


def speaks(run: Path) -> bool:
    """Return whether a run has saved a voice."""
    voices = systems_of("acoustic model", "end-to-end voice")
    return (run / "model" / "config.json").is_file() and read_model_facts(run / "model").system in voices


def _curves(chosen: list[Path]) -> str:
    return curves_page(chosen).body


def _say(run: Path, step: int | None, text: str) -> str:
    """Return a player of a text, spoken with the weights of a step; of the best without one."""
    model = open_model(run / "model") if step is None else model_at(run, step)
    voice = open_synthesizer(model)
    speech = Voice(voice, _vocoder_of(model) if voice.output == "mel" else None).say(text)
    return player(speech.wave, speech.sample_rate)


def _vocoder_of(model: SavedModel) -> Vocoder:
    """Return the built-in vocoder where it fits a run's mels, else Griffin-Lim."""
    built_in = load_vocoder(None, model.facts.audio, "cpu")
    return built_in if built_in.audio == model.facts.audio else load_vocoder(GRIFFIN_LIM, model.facts.audio, "cpu")
