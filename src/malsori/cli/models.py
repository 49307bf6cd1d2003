"""Models: list them, take in a public checkpoint, give one to the hub."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command("models")
def list_models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Folders, runs or hub ids; the built-in models without.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List models with their system, sample rate, size and license.

    Example: malsori models · malsori models runs/voice
    """
    from malsori.pretrained.hub import built_in, entry

    models = [entry(name) for name in names] if names else built_in()
    if as_json:
        facts = [{"name": model.name, "bytes": model.bytes, **model.facts.model_dump(mode="json")} for model in models]
        print(json.dumps({"models": facts}, ensure_ascii=False))
        return
    for model in models:
        size, rate = f"{model.bytes / 1e6:.1f} MB", model.facts.audio.sample_rate
        print(f"{model.name:24} {model.facts.system:12} {rate:6} Hz {size:>9}  {model.facts.license}")


@app.command("import")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="An author's .pth, .pt, .bin, .ckpt, .safetensors; a folder or hub id.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Model folder to write.")],
    config: Annotated[
        list[Path] | None,
        typer.Option(help="The author's settings, JSON or YAML; repeats. The config.json beside FILE without."),
    ] = None,
    license: Annotated[str, typer.Option(help="What the author says the weights may be used for.")] = "unknown",
) -> None:
    """Make a model folder of a public checkpoint; no code in the file is run.

    Example: malsori import g_02500000 -o models/hifigan --config config_v1.json --license MIT
    """
    from malsori.pretrained.folder import save_model
    from malsori.pretrained.hub import import_public

    model = import_public(file, config or [], license)
    save_model(model, out)
    print(
        f"{out}: a {model.facts.system} of {model.parameters / 1e6:.2f} M parameters. License: {model.facts.license}."
    )


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
