"""A hook of MkDocs: pages opened as files search with a script of their own, where the theme would fetch one.

The dialog of the search, which the theme leaves without a name, gets one for those who do not see it.
"""

from typing import Any

_FETCHED = "https://unpkg.com/iframe-worker/shim"
_DIALOG = 'data-md-component="search" role="dialog"'


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Return a page's HTML with both."""
    return _mended(output, "../" * page.url.count("/"), config)


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """Return a page that stands at the root, such as 404.html, with both."""
    return _mended(output_content, "", config)


def _mended(html: str, up: str, config: Any) -> str:
    label = "검색" if config["theme"]["language"] == "ko" else "Search"
    named = html.replace(_DIALOG, f'{_DIALOG} aria-label="{label}"')
    return named.replace(_FETCHED, f"{up}assets/frame-worker.js")
