"""What every test can ask for: the recordings, where they are."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of recordings (emotiontts, tedxkr, text); skip, saying so, where there is none."""
    folder = Path(os.environ.get("MALSORI_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: set MALSORI_DATA")
    return folder
