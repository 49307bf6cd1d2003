"""The studio on a server of its own, and a real browser that visits it."""

import shutil
from collections.abc import Iterator

import pytest

from malsori.demo import SENTENCES
from malsori.tts.voice import load_voice

from ..serve.conftest import RECOGNIZER, RunningServer, network_cut, running  # noqa: F401
from ..serve.tiny import tiny_models

#: Names under which a Chromium is installed.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory, pytestconfig):
    """A folder with the two runs that old versions of malsori have written."""
    folder = tmp_path_factory.mktemp("studio") / "runs"
    shutil.copytree(pytestconfig.rootpath / "tests" / "train" / "old_runs", folder)
    return folder


@pytest.fixture(scope="session")
def studio(runs_folder, tmp_path_factory) -> Iterator[RunningServer]:
    """A server with the studio: a voice that has learnt nothing, and a recognizer that has."""
    models = tiny_models(tmp_path_factory.mktemp("models")) | {"recognizer": RECOGNIZER, "aligner": RECOGNIZER}
    with running(**models, studio=True, runs=str(runs_folder)) as server:
        yield server


@pytest.fixture(scope="session")
def spoken_sentence(tmp_path_factory):
    """A text, and a WAV of it."""
    path = tmp_path_factory.mktemp("spoken") / "말소리.wav"
    load_voice("fastspeech2-ko").say(SENTENCES[0]).save(path)
    return SENTENCES[0], path


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; skips, saying so, where there is none. It holds an event loop: it ends with its file."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as driver:
        media = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox", *media])
        yield browser
        browser.close()
