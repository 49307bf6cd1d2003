"""What keys of older files are called today: the one table, applied to whatever of theirs is opened.

Saved models, recipes and run folders outlive the names in them. Old keys are renamed as they are read, before they are
checked; nothing writes them any more. A row says a key's old place, dotted, `*` for any name, and its new last part.
"""

from typing import Any

from malsori.errors import ConfigError

Renames = dict[str, str]

#: Of what config.json says beside its sizes.
FACTS: Renames = {"licence": "license", "trained.layout": "checkpoint_format"}

#: Of sizes, by system: `model` in a config.json, `[model]` in a recipe.
MODELS: dict[str, Renames] = {}

#: Of every recipe.
RECIPES: Renames = {"licence": "license"}

#: Of the recipes of one system alone.
SYSTEM_RECIPES: dict[str, Renames] = {}

#: Losses in a run's records: turn/loss → the loss's name.
LOSSES: Renames = {}


def current_facts(values: dict[str, Any], place: str) -> dict[str, Any]:
    """Return what a config.json says, under today's keys. Raises: ConfigError if a key is there under both names."""
    return _renamed(values, FACTS | _model_rows(values), place)


def current_recipe(values: dict[str, Any], place: str) -> dict[str, Any]:
    """Return a recipe's values under today's keys. Raises: ConfigError if a key is there under both names."""
    return _renamed(values, _recipe_rows(values), place)


def current_key(values: dict[str, Any], key: str) -> str:
    """Return what a dotted key of a recipe is called today; `values` say which system's recipe it is.

    >>> current_key({"system": "vocos"}, "licence")
    'license'
    """
    rows, parts = _recipe_rows(values), key.split(".")
    for length in range(len(parts), 0, -1):
        new = next((new for old, new in rows.items() if _matches(old.split("."), parts[:length])), parts[length - 1])
        parts = [*parts[: length - 1], new, *parts[length:]]
    return ".".join(parts)


def current_record(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a line of a run's metrics.jsonl or balance.jsonl with its losses under today's names."""
    if f"{entry.get('turn')}/{entry.get('loss')}" in LOSSES:
        entry = entry | {"loss": LOSSES[f"{entry['turn']}/{entry['loss']}"]}
    return {f"{key.split('/')[0]}/{LOSSES[key]}" if key in LOSSES else key: value for key, value in entry.items()}


def _model_rows(values: dict[str, Any]) -> Renames:
    return {f"model.{old}": new for old, new in MODELS.get(str(values.get("system")), {}).items()}


def _recipe_rows(values: dict[str, Any]) -> Renames:
    return RECIPES | SYSTEM_RECIPES.get(str(values.get("system")), {}) | _model_rows(values)


def _renamed(values: dict[str, Any], rows: Renames, place: str) -> dict[str, Any]:
    """Return nested values with the last part of each old key replaced, a section's after its own keys."""

    def walk(section: dict[str, Any], path: list[str]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, value in section.items():
            here = [*path, name]
            new = next((new for old, new in rows.items() if _matches(old.split("."), here)), name)
            if new != name and new in section:
                old_key, new_key = ".".join(here), ".".join([*path, new])
                raise ConfigError(f"{place}: has '{old_key}' and '{new_key}', its name today. Keep '{new_key}' alone.")
            result[new] = walk(value, here) if isinstance(value, dict) else value
        return result

    return walk(values, [])


def _matches(old: list[str], path: list[str]) -> bool:
    return len(old) == len(path) and all(part in ("*", name) for part, name in zip(old, path, strict=True))
