"""JSON as a table: an object a line (NeMo, Hugging Face), a list of objects (ClovaCall), or one object for a recording.

Objects may be nested, as AI Hub's are: the names of their values are the columns' names.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from malsori.errors import CorpusError
from malsori.readers.columns import header_roles
from malsori.readers.files import head_of, lines_of, read_text
from malsori.readers.records import Refusal, to_nfc
from malsori.readers.rows import Rows, TableRow

#: Endings of files that hold JSON.
JSON_ENDINGS = (".jsonl", ".ndjson", ".json")


def read_json_rows(table: Path) -> Rows:
    """Return the objects of a JSON file as rows, the first of which holds the names.

    Raises: CorpusError if it is no text, or holds no object.
    """
    text = read_text(table)
    refused: list[Refusal] = []
    objects = list(_objects(table, text, refused))
    names = list(dict.fromkeys(name for _, values in objects for name in values))
    if not objects:
        raise CorpusError(f"{table}: holds no JSON object with a text")
    rows = (TableRow(number, tuple(values.get(name, "") for name in names)) for number, values in objects)
    return Rows("", (TableRow(1, tuple(names)), *rows), tuple(refused))


def looks_like_manifest(path: Path) -> bool:
    """Return whether a JSON file begins with several objects whose names say path and text."""
    head = head_of(path).strip()
    first = next(iter(lines_of(head)), "")
    try:
        values = json.loads(first)
    except (ValueError, RecursionError):
        if not head.startswith("["):
            return False
        found = next((item for item in _values_in(head)), None)
        values = found
    if isinstance(values, list):
        values = next(iter(values), None)
    if (
        not isinstance(values, dict)
        or manifest_of_lhotse(values)
        or (path.suffix.lower() == ".json" and not head.startswith("[") and "\n" not in head)
    ):
        return False
    roles = header_roles(tuple(flattened(values)))
    return roles is not None and "path" in roles and bool({"text", "spoken"} & set(roles))


def manifest_of_lhotse(values: object) -> str:
    """Return which of lhotse's manifests an object is a line of: recordings, supervisions or cuts; "" for none."""
    if not isinstance(values, dict) or "id" not in values:
        return ""
    if "sources" in values and "sampling_rate" in values:
        return "recordings"
    if {"recording_id", "start", "duration"} <= set(values):
        return "supervisions"
    return "cuts" if str(values.get("type", "")).endswith("Cut") else ""


def flattened(values: dict[str, Any]) -> dict[str, str]:
    """Return the texts and numbers of an object and of those inside it, by name; the first of a name counts."""
    found: dict[str, str] = {}
    for name, value in values.items():
        inner = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(inner, dict):
            found = flattened(inner) | found if name not in found else found
        elif isinstance(inner, str | int | float) and not isinstance(inner, bool):
            found.setdefault(to_nfc(str(name)), str(inner))
    return found


def _objects(table: Path, text: str, refused: list[Refusal]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each object of a text with its line's number, or its place in a list."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if whole is not None:
        items = whole if isinstance(whole, list) else next((v for v in whole.values() if _is_list(v)), [whole])
        yield from ((number, flattened(item)) for number, item in enumerate(items, start=1) if isinstance(item, dict))
        return
    for number, line in enumerate(lines_of(text), start=1):
        try:
            item = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError) as error:
            detail = f"{table}:{number}: not JSON: {error}: {line:.60}"
            refused.append(Refusal(f"{table.name}:{number}", "not a table line", detail))
            continue
        if isinstance(item, dict):
            yield number, flattened(item)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], dict)


def _values_in(head: str) -> Iterator[Any]:
    """Yield the first object of a list of which only the beginning is at hand."""
    start = head.find("{")
    try:
        yield json.JSONDecoder().raw_decode(head[start:])[0]
    except (ValueError, RecursionError):
        return
