"""Pages that were exported, in Chromium; onnxruntime-web's `dist` is what MALSORI_ORT_WEB names."""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import jaxtyping
import pytest


def runtime() -> Path:
    """Return onnxruntime-web's `dist`; the test is skipped where it, or a browser, is missing."""
    jaxtyping.config.update("jaxtyping_disable", True)  # for fixtures of a module
    if "MALSORI_ORT_WEB" not in os.environ or _browser() is None:
        pytest.skip("needs Chromium, and onnxruntime-web: npm install onnxruntime-web; MALSORI_ORT_WEB=.../dist")
    pytest.importorskip("playwright.sync_api")
    return Path(os.environ["MALSORI_ORT_WEB"])


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def opened(folder: Path, *arguments: str) -> Iterator[Any]:
    """Return a tab with a page whose voice is loaded; `tab.asked` are the addresses of all that it asked for."""
    from playwright.sync_api import sync_playwright

    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=_browser(), args=["--no-sandbox", *arguments])
            tab = browser.new_page()
            tab.asked = []
            tab.context.on("request", lambda request: tab.asked.append(request.url))
            tab.set_default_timeout(180_000)
            tab.goto(f"http://127.0.0.1:{server.server_address[1]}/")
            tab.wait_for_function("globalThis.malsori !== undefined")
            yield tab
            browser.close()
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def faults(tab: Any, width: int) -> list[str]:
    """Return the serious faults of accessibility that axe finds at a width, and whether something is wider."""
    axe = (files(pytest.importorskip("axe_playwright_python")) / "axe.min.js").read_text(encoding="utf-8")
    tab.set_viewport_size({"width": width, "height": 900})
    tab.evaluate(axe)
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")]
    return serious + ["too wide"] * (tab.evaluate("document.documentElement.scrollWidth") > width)
