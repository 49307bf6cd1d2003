"""Korean text: normalise, pronounce, split into phonemes, explain every stage."""

import typer

app = typer.Typer()
text_app = typer.Typer(help="Korean text: normalise, pronounce, split into phonemes.", no_args_is_help=True)
app.add_typer(text_app, name="text")
