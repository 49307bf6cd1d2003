"""Numbers about speech and transcripts: score, compare, mcd."""

import typer

app = typer.Typer()
