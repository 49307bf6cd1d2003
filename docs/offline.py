"""A hook of MkDocs: pages opened as files search with a script of their own, where the theme would fetch one."""

from typing import Any

_FETCHED = "https://unpkg.com/iframe-worker/shim"


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Return the page's HTML with the local script."""
    up = "../" * page.url.count("/")
    return output.replace(_FETCHED, f"{up}assets/frame-worker.js")


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """Return a page that stands at the root, such as 404.html, with the local script."""
    return output_content.replace(_FETCHED, "assets/frame-worker.js")
