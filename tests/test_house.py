"""The house rules of docs/architecture.md, held by a machine: sizes, floors, names, docstrings."""

import ast
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "malsori"

#: From the top of the house to the ground: a module may import its own floor and those after it.
FLOORS = (
    {"malsori", "cli", "__main__"},
    {"studio"},
    {"serve"},
    {"cluster"},
    {"demo", "evaluation"},
    {"learn"},
    {"report"},
    {"train"},
    {"corpus"},
    {"readers"},
    {"export"},
    {"asr", "tts"},
    {"runtime"},
    {"pretrained"},
    {"decode"},
    {"metrics"},
    {"losses"},
    {"models"},
    {"nn"},
    {"alignment"},
    {"text"},
    {"audio"},
    {"systems"},
    {"object_store"},
    {"files", "config", "shapes", "annotations", "extras", "errors"},
)

#: Room → files and lines of code that it may hold; "malsori" is what lies beside the rooms. Docstrings, comments and
#: blank lines are not counted: they are what a reader is given. The commit that changes a number says why.
ROOMS = {
    "alignment": (14, 1370),
    "asr": (15, 1440),
    "audio": (21, 1740),
    "cli": (18, 2310),
    "corpus": (20, 2480),
    "decode": (8, 630),
    "evaluation": (5, 410),
    "export": (12, 1400),
    "learn": (15, 1380),
    "losses": (5, 290),
    "malsori": (12, 800),
    "metrics": (14, 1220),
    "models": (15, 2120),
    "nn": (11, 830),
    "pretrained": (15, 1920),
    "readers": (14, 1100),
    "report": (13, 1480),
    "runtime": (6, 290),
    "serve": (20, 1670),
    "studio": (10, 500),
    "text": (32, 2920),
    "train": (31, 3280),
    "tts": (14, 990),
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES, MAX_MEDIAN_FUNCTION_LINES = 40, 12  # without the docstring
MAX_FUNCTION_LINES_WITH_DOCSTRING = 60
MAX_CONSTRUCTOR_PARAMETERS = 8
MAX_FOLDERS = 2  # malsori/text
#: Classes of one name in two files, which are on their way out.
SHARED_NAMES = {"Writer"}
FORBIDDEN_WORDS = {"utils", "util", "common", "helpers", "helper", "base", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass(frozen=True)
class Source:
    """One file of the package, read and parsed."""

    path: Path
    lines: int
    tree: ast.Module

    @property
    def name(self) -> str:
        """The path below the package, as messages show it."""
        return self.path.relative_to(SOURCE).as_posix()

    @property
    def room(self) -> str:
        """The name that FLOORS knows the file by."""
        first = self.name.split("/")[0].removesuffix(".py")
        return "malsori" if first == "__init__" else first

    def code_lines(self) -> int:
        """How many lines hold code: not docstrings, comments or blanks."""
        documented = {
            line
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node) is not None
            for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
        }
        with tokenize.open(self.path) as file:
            tokens = [token for token in tokenize.generate_tokens(file.readline) if token.type not in NO_CODE]
        held = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
        return len(held - documented)

    def functions(self) -> Iterator[Function]:
        """Every function and method, nested ones too."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def classes(self) -> Iterator[ast.ClassDef]:
        """Every class."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))


@cache
def sources() -> tuple[Source, ...]:
    files = sorted(SOURCE.rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    return tuple(Source(path, len(text.splitlines()), ast.parse(text)) for path, text in zip(files, texts, strict=True))


def room_sizes() -> Iterator[str]:
    held: dict[str, list[Source]] = {}
    for source in sources():
        held.setdefault(source.name.split("/")[0] if "/" in source.name else "malsori", []).append(source)
    for room, members in held.items():
        # A package's __init__ that only says what the package is for is no file to find one's way in.
        files = sum(any(not isinstance(part, ast.Expr) for part in source.tree.body) for source in members)
        lines = sum(source.code_lines() for source in members)
        max_files, max_lines = ROOMS.get(room, (0, 0))
        if files > max_files or lines > max_lines:
            yield f"{room}: {files} files and {lines} lines of code, at most {max_files} and {max_lines}"


def file_sizes() -> Iterator[str]:
    for source in sources():
        if source.lines > MAX_FILE_LINES:
            yield f"{source.name}: {source.lines} lines, at most {MAX_FILE_LINES}"


def function_sizes() -> Iterator[str]:
    lengths = []
    for source in sources():
        for function in source.functions():
            whole, length = _whole_length(function), _code_length(function)
            lengths.append(length)
            if length > MAX_FUNCTION_LINES or whole > MAX_FUNCTION_LINES_WITH_DOCSTRING:
                yield f"{source.name}:{function.lineno} {function.name}: {length} lines, {whole} with its docstring"
    if lengths and statistics.median(lengths) >= MAX_MEDIAN_FUNCTION_LINES:
        yield f"the median function has {statistics.median(lengths)} lines, under {MAX_MEDIAN_FUNCTION_LINES} wanted"


def constructors() -> Iterator[str]:
    for source in sources():
        for function in source.functions():
            arguments = function.args
            count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs) - 1
            if function.name == "__init__" and count > MAX_CONSTRUCTOR_PARAMETERS:
                yield f"{source.name}:{function.lineno} takes {count} parameters: make them a config"


def folders_and_names() -> Iterator[str]:
    for source in sources():
        folders = len(source.path.relative_to(SOURCE.parent).parts) - 1
        if folders > MAX_FOLDERS:
            yield f"{source.name}: {folders} folders deep, at most {MAX_FOLDERS}"
        words = set(source.name.removesuffix(".py").replace("/", "_").split("_"))
        if words & FORBIDDEN_WORDS:
            yield f"{source.name}: a name that says nothing ({', '.join(words & FORBIDDEN_WORDS)})"


def floors() -> Iterator[str]:
    level = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for source in sources():
        if source.room not in level:
            yield f"{source.name}: stands on no floor; name '{source.room}' in FLOORS"
            continue
        for line, module in _imports(source.tree):
            if module == "malsori":  # it holds the version, which anyone may ask for, and doors to the upper floors
                continue
            room = module.split(".")[1]
            upwards = level.get(room, 0) < level[source.room]
            if source.room != "malsori" and upwards:
                yield f"{source.name}:{line} imports {module}, which lies above it"
        yield from _doors_used(source)


def exceptions() -> Iterator[str]:
    for source in sources():
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is None or _names(node.type) & {"Exception", "BaseException"}
            if node.type is None:
                yield f"{source.name}:{node.lineno} bare except"
            elif broad and all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body):
                yield f"{source.name}:{node.lineno} swallows every error"


def class_names() -> Iterator[str]:
    homes: dict[str, list[str]] = {}
    for source in sources():
        for node in source.classes():
            homes.setdefault(node.name, []).append(f"{source.name}:{node.lineno}")
    for name, places in homes.items():
        if len(places) > 1 and name not in SHARED_NAMES:
            yield f"{name} is a class in {' and in '.join(places)}: one name, one thing"


def prints() -> Iterator[str]:
    for source in sources():
        for node in ast.walk(source.tree):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            if called and source.room != "cli":
                yield f"{source.name}:{node.lineno} prints: only the command line does"


def shape_checks() -> Iterator[str]:
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                yield f"{source.name}:{node.lineno} imports from __future__, which switches the shape checks off"


def architecture_page() -> Iterator[str]:
    page = (SOURCE.parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = {source.name for source in sources() if source.path.name != "__init__.py"}
    named = set(_paths_on(page.split("```")[1]))
    yield from (f"{path} is not on docs/architecture.md" for path in sorted(paths - named))
    yield from (f"{path} is on docs/architecture.md, but not in the house" for path in sorted(named - paths))


def docstrings() -> Iterator[str]:
    for source in sources():
        if not ast.get_docstring(source.tree):
            yield f"{source.name}: the file has no docstring"
        for owner, node in _public_definitions(source.tree):
            if not ast.get_docstring(node):
                yield f"{source.name}:{node.lineno} {owner}{node.name} has no docstring"


def config_fields() -> Iterator[str]:
    read = {name for source in sources() for name in _attributes_read(source.tree)}
    for source, class_node in _config_classes():
        for statement in class_node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                name = statement.target.id
                if name not in read:
                    yield f"{source.name}:{statement.lineno} {class_node.name}.{name} is never read"


RULES = (
    room_sizes,
    file_sizes,
    function_sizes,
    constructors,
    folders_and_names,
    floors,
    exceptions,
    class_names,
    prints,
    shape_checks,
    architecture_page,
    docstrings,
    config_fields,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rule_of(rule):
    violations = list(rule())
    assert not violations, "\n  ".join([f"{len(violations)} against the rule '{rule.__name__}':", *violations])


PLANTED = {
    "text/text_utils.py": '"""Words."""\nfrom malsori.models import vits\n\n\ndef read(x):\n    print(x)\n',
    "audio/deep/er/io.py": "import importlib\ntry:\n    importlib.import_module('malsori.cli')\nexcept:\n    pass\n",
    "models/vits.py": '"""VITS."""\nfrom __future__ import annotations\n\n\nclass Vits:\n    """VITS."""\n\n'
    "    def __init__(self, a, b, c, d, e, f, g, h, i):\n"
    + "        self.a = a\n" * 41
    + "    def infer(self):\n        pass\n",
    "losses/long.py": '"""Long."""\n' + "# more\n" * 400,
    "train/run.py": '"""Run."""\n\n\nclass Deep(Config):\n    """Deep."""\n\n    seen: int\n    unseen: int\n\n\n'
    "class Deeper(Deep):\n    own: int\n\n    def twice(self):\n        return 2 * self.seen\n\n"
    "    @model_validator(mode='after')\n    def _check(self):\n        return self.own\n",
    "nn/door.py": '"""A door."""\nimport malsori\n\nmalsori.__version__\nmalsori.load_voice()\n',
    "nn/deep.py": '"""Deep."""\n\n\nclass Deep:\n    """Deep."""\n',
    "attic.py": '"""Old things."""\ntry:\n    import lhotse\nexcept Exception:\n    pass\n',
}

FOUND = {
    "file_sizes": ["losses/long.py: 401 lines"],
    "function_sizes": ["models/vits.py:8 __init__: 42 lines"],
    "constructors": ["models/vits.py:8 takes 9"],
    "folders_and_names": ["audio/deep/er/io.py: 4 folders", "text/text_utils.py: a name that says nothing (utils)"],
    "floors": [
        "attic.py: stands on no floor",
        "audio/deep/er/io.py:3 imports malsori.cli",
        "nn/door.py:5 uses malsori.load_voice",
        "text/text_utils.py:2 imports",
    ],
    "exceptions": ["attic.py:4 swallows", "audio/deep/er/io.py:4 bare"],
    "class_names": ["Deep is a class in nn/deep.py:4 and in train/run.py:4"],
    "prints": ["text/text_utils.py:6"],
    "shape_checks": ["models/vits.py:2"],
    "docstrings": [
        "audio/deep/er/io.py: the file",
        "models/vits.py:50 Vits.infer",
        "text/text_utils.py:5 read",
        "train/run.py:11 Deeper has",
        "train/run.py:14 Deeper.twice",
    ],
    "config_fields": ["train/run.py:8 Deep.unseen", "train/run.py:12 Deeper.own"],
}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.__name__ in FOUND], ids=lambda rule: rule.__name__)
def test_the_rules_find_what_is_planted_and_nothing_else(rule, tmp_path, monkeypatch):
    for name, text in PLANTED.items():
        path = tmp_path / "malsori" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path / "malsori")
    sources.cache_clear()
    try:
        found = sorted(rule())
    finally:
        sources.cache_clear()
    assert len(found) == len(FOUND[rule.__name__]), found
    for message, beginning in zip(found, sorted(FOUND[rule.__name__]), strict=True):
        assert message.startswith(beginning)


def _whole_length(function: Function) -> int:
    return function.end_lineno - function.lineno + 1


def _code_length(function: Function) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return _whole_length(function) - (first.end_lineno - first.lineno + 1 if documented else 0)


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every module of malsori that a file imports, by statement or by a literal name, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "malsori":
            names = [f"malsori.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and _names(node.func) & {"import_module", "__import__"}:
            names = [part.value for part in node.args if isinstance(part, ast.Constant)]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "malsori")


def _doors_used(source: Source) -> Iterator[str]:
    """Every use of a public name of `malsori` inside the package: it leads up, wherever it is used."""
    for node in ast.walk(source.tree):
        door = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "malsori"
        if door and node.attr not in ("__version__", "__file__"):
            yield f"{source.name}:{node.lineno} uses malsori.{node.attr}: import it from where it is made"


def _paths_on(tree: str) -> Iterator[str]:
    """Every path of a drawn tree, whose rooms are indented by two spaces and end in a slash."""
    room = ""
    for line in tree.splitlines():
        if line.startswith("  ") and line[2] != " ":
            first = line.split()[0]
            room = first if first.endswith("/") else ""
        yield from (room + name for name in re.findall(r"(?<!\*)\b[\w-]+\.py\b", line))


def _names(node: ast.AST) -> set[str]:
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def _public_definitions(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """Every public function and class, and every public method of a public class, with its owner's name."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield "", node
            if isinstance(node, ast.ClassDef):
                methods = (part for part in node.body if isinstance(part, Function))
                yield from ((f"{node.name}.", method) for method in methods if not method.name.startswith("_"))


def _config_classes() -> list[tuple[Source, ast.ClassDef]]:
    """Every class that is a Config, directly or through another."""
    classes = [(source, node) for source in sources() for node in source.classes()]
    known = {"Config"}
    while True:
        more = {node.name for _, node in classes if {name for part in node.bases for name in _names(part)} & known}
        if more <= known:
            return [(source, node) for source, node in classes if node.name in known - {"Config"}]
        known |= more


def _attributes_read(node: ast.AST) -> Iterator[str]:
    """Every attribute that is read; to check a value is not to use it, so validators do not count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function) and any("validator" in str(_names(mark)) for mark in child.decorator_list):
            continue
        if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Load):
            yield child.attr
        yield from _attributes_read(child)
