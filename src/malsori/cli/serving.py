"""Serving: serve, studio. Their options are the fields of `ServeSettings`, made when they are first asked for."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from malsori.extras import EXTRAS, require

if TYPE_CHECKING:
    from malsori.serve.settings import ServeSettings

app = typer.Typer()


class _SettingsCommand(TyperCommand):
    """A command whose options are read off a settings class that `malsori --help` need not import."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [*_options(), *super().get_params(ctx)]

    def invoke(self, ctx: Any) -> None:
        given = {name: value for name, value in ctx.params.items() if value not in (None, [], ())}
        _serve(given | ({"studio": True} if ctx.info_name == "studio" else {}))


@app.command("serve", cls=_SettingsCommand)
def serve() -> None:
    """Serve OpenAI's speech routes to any client: speak, transcribe, align, explain, score.

    Every option can also be set in the environment, as MALSORI_PORT=8080.

    Example: malsori serve --port 8080

    Example: MALSORI_API_KEY=secret malsori serve --host 0.0.0.0

    Example: malsori serve --cluster auto --replicas 4
    """


@app.command("studio", cls=_SettingsCommand)
def studio() -> None:
    """Serve the studio to a browser: speak, listen, measure, align, losses, runs, and the lessons.

    It is the server of 'malsori serve' with --studio, and takes its options. Nothing leaves the machine.

    Example: malsori studio --runs runs    # then open http://127.0.0.1:8000/studio
    """


def _serve(given: dict[str, Any]) -> None:
    settings = _settings()(**given)
    if settings.cluster:
        from malsori.serve.replicas import run_replicas

        run_replicas(settings)
        return
    more = []
    if settings.studio:
        for module in ("jinja2", "matplotlib", "koreanize_matplotlib"):
            require(module, "the studio")
        from malsori.studio.app import router

        more.append(router)
    from malsori.serve.server import run_server

    run_server(settings, more)


def _settings() -> "type[ServeSettings]":
    for module in (name for name, extra in EXTRAS.items() if extra == "serve"):
        require(module, "malsori serve")
    from malsori.serve.settings import ServeSettings

    return ServeSettings


def _options() -> list[Any]:
    """Return the command's options: one for each setting, all texts, which the settings class checks."""
    read: Callable[..., None] = lambda **_: None  # noqa: E731
    parameters = []
    for name, field in _settings().model_fields.items():
        many = isinstance(field.default, tuple)
        kind = bool if field.annotation is bool else list[str] if many else str
        shown = " ".join(map(str, field.default)) if many else field.default
        option = typer.Option(help=field.description, show_default=str(shown) if shown not in ("", None) else False)
        annotation: Any = Annotated[kind | None, option]
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    read.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    read.__annotations__ = {one.name: one.annotation for one in parameters}
    built = typer.Typer(add_completion=False)
    built.command()(read)
    return list(typer.main.get_command(built).params)
