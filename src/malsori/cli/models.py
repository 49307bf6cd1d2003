"""Models: list them, cut a vocabulary, import a public checkpoint, give one to the hub."""

import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from malsori.errors import OptionError, TextError


class _ListByDefault(TyperGroup):
    """`malsori models NAMES` lists, without a word for it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["list", *args])


app = typer.Typer()
models_app = typer.Typer(cls=_ListByDefault, help="Models: list them (NAMES without a command), cut a vocabulary.")
app.add_typer(models_app, name="models")
_Weights = Annotated[
    Literal["float32", "float16", "int8"],
    typer.Option(help="How they are stored; int8 is a quarter."),
]


@models_app.command("list")
def list_models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Folders, runs or hub ids; the built-in models without.")
    ] = None,
    remote: Annotated[
        bool, typer.Option("--remote", help="List public checkpoints that open by their hub id; nothing is fetched.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List models with their system, sample rate, size and license; without names all weights that come with malsori.

    Example: malsori models · malsori models runs/voice · malsori models --remote
    """
    from malsori.pretrained.hub import built_in, describe_model, other_weights

    if remote:
        if names:
            raise OptionError(f"--remote: is a list of its own; name {names[0]} without it")
        _list_remote(as_json)
        return
    models = [describe_model(name) for name in names] if names else built_in()
    others = [] if names else other_weights()
    if as_json:
        facts = [{"name": model.name, "bytes": model.bytes, **model.facts.model_dump(mode="json")} for model in models]
        print(json.dumps({"models": facts, "other_weights": [vars(one) for one in others]}, ensure_ascii=False))
        return
    for model in models:
        size, rate = f"{model.bytes / 1e6:.1f} MB", model.facts.audio.sample_rate
        speakers = f"  speakers: {', '.join(model.facts.speakers)}" if model.facts.speakers else ""
        print(f"{model.name:24} {model.facts.system:12} {rate:6} Hz {size:>9}  {model.facts.license}{speakers}")
    for one in others:
        print(f"{one.name:24} {'(part)':12} {'':9} {f'{one.bytes / 1e6:.1f} MB':>9}  {one.license}")
    if not names:
        print("malsori itself: Apache-2.0. NOTICE and docs/licenses.md say what ships.", file=sys.stderr)


def _list_remote(as_json: bool) -> None:
    from malsori.pretrained.remote import remote_models

    found = remote_models()
    if as_json:
        print(json.dumps({"models": [vars(one) for one in found]}, ensure_ascii=False))
        return
    for one in found:
        print(f"{one.hub_id:40} {one.system:12} {one.megabytes:6} MB  {one.license:14} {one.good_for}")


@models_app.command("shrink")
def shrink_vocabulary(
    model: Annotated[str, typer.Argument(help="A Whisper: a folder, run or hub id.")],
    out: Annotated[Path, typer.Argument(help="Model folder to write.")],
    text: Annotated[list[Path], typer.Option(help="Text of the language, UTF-8, or packed as .gz; repeats.")],
    languages: Annotated[
        str, typer.Option(help="Codes of those that can still be asked for: ko,en; all without.")
    ] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Keep the tokens for times.")] = False,
    min_count: Annotated[int, typer.Option(min=1, help="How often the texts must use a piece for it to stay.")] = 10,
    weights: _Weights = "float32",
) -> None:
    """Cut a Whisper's vocabulary to what a language needs; what is left out is spelled from smaller pieces.

    Example: malsori models shrink openai/whisper-base models/whisper-ko --text korean.txt --languages ko,en
    """
    from malsori.cli.terminal import watched
    from malsori.pretrained.folder import save_model
    from malsori.pretrained.hub import load_saved
    from malsori.pretrained.shrink import ShrinkOptions, shrink

    codes = tuple(code.strip() for code in languages.split(",") if code.strip())
    options = ShrinkOptions(languages=codes, timestamps=timestamps, min_count=min_count)
    before = load_saved(model)
    after = shrink(before, watched(_lines(text)), options)
    save_model(after, out, weights)
    tokens, sizes = (before.network.config.vocab, after.network.config.vocab), (before.parameters, after.parameters)
    print(
        f"{out}: {tokens[1]} of {tokens[0]} tokens, {sizes[1] / 1e6:.2f} of {sizes[0] / 1e6:.2f} M parameters. "
        f"License: {after.facts.license}."
    )


def _lines(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the lines of text files. Raises: TextError if one is not UTF-8, or not packed as its name says."""
    for path in paths:
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rt", encoding="utf-8-sig") as file:
                yield from (line.rstrip("\n") for line in file)
        except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            raise TextError(f"{path}: not UTF-8 text, or not packed as its name says: {error}") from error


@app.command("import")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="An author's .pth, .pt, .bin, .ckpt, .safetensors; a folder or hub id.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Model folder to write.")],
    config: Annotated[
        list[Path] | None,
        typer.Option(help="The author's settings, JSON or YAML; repeats. The config.json beside FILE without."),
    ] = None,
    license: Annotated[str, typer.Option(help="What the author says the weights may be used for.")] = "unknown",
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder or hub id of a Whisper's tokenizer, for OpenAI's .pt, which holds none.")
    ] = None,
    weights: _Weights = "float32",
) -> None:
    """Make a model folder of a public checkpoint; no code in the file is run.

    Example: malsori import g_02500000 -o models/hifigan --config config_v1.json --license MIT
    """
    from malsori.pretrained.external import import_external
    from malsori.pretrained.folder import save_model

    model = import_external(file, config or [], license, tokenizer)
    save_model(model, out, weights)
    print(
        f"{out}: a {model.facts.system} of {model.parameters / 1e6:.2f} M parameters. License: {model.facts.license}."
    )


_Dtype = Annotated[
    Literal["float32", "float16", "int8"] | None,
    typer.Option(
        help="Weights: float16 half the size, int8 a quarter of the matrix products' and faster. [default: float32; "
        "for --web float16]"
    ),
]


@app.command("export")
def export(
    model: Annotated[str, typer.Argument(help="A built-in name, a folder, a run or a hub id.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    dtype: _Dtype = None,
    opset: Annotated[int, typer.Option(help="ONNX's operator set, 17 to 22.")] = 18,
    vocoder: Annotated[str | None, typer.Option(help="Of a voice that makes mels; the built-in one without.")] = None,
    shared_weights: Annotated[
        bool, typer.Option("--shared-weights", help="The graphs use the model.safetensors beside them, PyTorch too.")
    ] = False,
    program: Annotated[
        str | None,
        typer.Option("--for", metavar="piper|sherpa-onnx|onnx-asr", help="Lay a model out as that program opens it."),
    ] = None,
    web: Annotated[
        Path | None,
        typer.Option(help="A page that speaks in the browser, by the npm package onnxruntime-web: its folder dist."),
    ] = None,
    recognizer: Annotated[
        str | None, typer.Option(help="With --web: a Whisper by which the page listens too, in int8.")
    ] = None,
) -> None:
    """Write a model as ONNX, with all that it needs to speak or listen without PyTorch (docs/onnx.md).

    Example: malsori export fastspeech2-ko voice-onnx · malsori export openai/whisper-small ear-onnx --dtype int8
    Example: malsori export runs/mine piper-voice --for piper
    Example: malsori export fastspeech2-ko page --web node_modules/onnxruntime-web/dist --recognizer whisper-base-ko
    """
    from malsori.export.folder import export_model
    from malsori.export.programs import ProgramExport, export_for
    from malsori.export.web import export_page

    _check_layout(program, web, shared_weights, recognizer)
    asked = ProgramExport(dtype or ("float16" if web else "float32"), opset, vocoder)
    if web is not None:
        written = ", ".join(export_page(model, out, web, asked, recognizer))
        print(f"{out}: {written}; see it: python -m http.server -d {out}")
        return
    if program is not None:
        print(f"{out}: {', '.join(export_for(program, model, out, asked))}, opset {opset}")
        return
    facts = export_model(model, out, asked.dtype, opset, vocoder, shared_weights)
    megabytes = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    print(f"{out}: {', '.join(graph.file for graph in facts.graphs.values())}, opset {opset}, {megabytes:.1f} MB")


def _check_layout(program: str | None, web: Path | None, shared_weights: bool, recognizer: str | None) -> None:
    """Raise OptionError for options of 'export' that do not go together."""
    if program and web:
        raise OptionError(f"--for {program} and --web {web}: give one of the two")
    if (program or web) and shared_weights:
        raise OptionError(f"--shared-weights: a graph for {program or 'a page'} holds its weights")
    if recognizer and web is None:
        raise OptionError(f"--recognizer {recognizer}: is for a page; give --web, the folder dist of onnxruntime-web")


@app.command("push")
def push_model(
    model: Annotated[str, typer.Argument(help="A model's or a run's folder.")],
    hub_id: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face hub; made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Only for its owner to see.")] = False,
) -> None:
    """Put a model on the Hugging Face hub; HF_TOKEN or 'hf auth login' says who you are.

    Example: malsori push runs/voice someone/my-voice --private
    """
    from malsori.pretrained.hub import push

    print(push(model, hub_id, private))
