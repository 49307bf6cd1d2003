"""Whisper as CTranslate2 keeps it (faster-whisper's models): a folder of model.bin, config.json and tokenizer.json.

model.bin, little-endian; a text is its length with a final zero (uint16), its bytes and the zero:

    version uint32 (6) · name of the specification, a text ("WhisperSpec") · its revision uint32 (3)
    variables uint32, each:  name, a text · rank uint8 · sizes uint32 · type uint8 · bytes uint32 · numbers, row by row
    aliases uint32, each:    alias, a text · name, a text: tensors that equal another are kept once

A weight of whole numbers has `NAME_scale` beside it, one a row (int8) or one in all (int16): weight = number / scale.
Variables without a size are settings. config.json says what must never be written; tokenizer.json is transformers'.

Source: CTranslate2 4, python/ctranslate2/specs/model_spec.py, ModelSpec._serialize and LayerSpec._quantize.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from malsori.errors import ModelError
from malsori.files import read_json
from malsori.pretrained.convert import ExternalCheckpoint
from malsori.pretrained.hub import CTRANSLATE2_FILE

_VERSION, _SPECIFICATION, _REVISION = 6, "WhisperSpec", 3
#: What a type's number means.
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)


def read_ctranslate2(folder: Path) -> ExternalCheckpoint:
    """Return the tensors of a folder, and its settings: those of model.bin and of config.json.

    Raises: ModelError if it holds no Whisper, or is damaged.
    """
    with (folder / CTRANSLATE2_FILE).open("rb") as file:
        variables, aliases = _Reader(file, folder / CTRANSLATE2_FILE).content()
    settings = {name: int(value) for name, value in variables.items() if not value.dim() and not _is_scale(name)}
    weights = {
        name: _as_float(value, variables.get(f"{name}_scale"))
        for name, value in variables.items()
        if value.dim() and not _is_scale(name)
    }
    weights |= {alias: weights[name] for alias, name in aliases.items() if name in weights}
    return ExternalCheckpoint(folder, settings | read_json(folder / "config.json"), weights)


def generation_config(checkpoint: ExternalCheckpoint) -> bytes:
    """Return what must never be written and which heads follow the sound, as transformers' generation_config.json."""
    names = {
        "suppress_tokens": "suppress_ids",
        "begin_suppress_tokens": "suppress_ids_begin",
        "alignment_heads": "alignment_heads",
    }
    told: dict[str, Any] = {
        there: checkpoint.config[here] for there, here in names.items() if checkpoint.config.get(here)
    }
    return json.dumps(told, indent=1).encode()


class _Reader:
    """What stands in a model.bin, from its beginning to its end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path

    def content(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the variables by name, and the name that each alias means."""
        version = self._number("I")
        if version != _VERSION:
            raise ModelError(
                f"{self.path}: version {version} of CTranslate2's files, or another program's; {_VERSION} alone is "
                "read. Convert it anew with ct2-transformers-converter"
            )
        specification, revision = self._text(), self._number("I")
        if (specification, revision) != (_SPECIFICATION, _REVISION):
            raise ModelError(
                f"{self.path}: a {specification} of revision {revision}; only a {_SPECIFICATION} of {_REVISION} is read"
            )
        variables = dict(self._variable() for _ in range(self._number("I")))
        aliases = {self._text(): self._text() for _ in range(self._number("I"))}
        if self.file.read(1):
            raise self._damaged("there is more behind its end")
        return variables, aliases

    def _variable(self) -> tuple[str, Tensor]:
        name = self._text()
        shape = [self._number("I") for _ in range(self._number("B"))]
        kind, size = self._number("B"), self._number("I")
        if kind >= len(_TYPES):
            raise self._damaged(f"'{name}' is of type {kind}")
        if size != math.prod(shape) * _TYPES[kind].itemsize:
            raise self._damaged(f"'{name}' has {size} bytes for the shape {tuple(shape)}")
        return name, torch.frombuffer(bytearray(self._bytes(size)), dtype=_TYPES[kind]).reshape(shape)

    def _text(self) -> str:
        try:
            return self._bytes(self._number("H")).decode().removesuffix("\0")
        except UnicodeDecodeError as error:
            raise self._damaged("a name is not UTF-8") from error

    def _number(self, kind: str) -> int:
        return int(struct.unpack(f"<{kind}", self._bytes(struct.calcsize(f"<{kind}")))[0])

    def _bytes(self, size: int) -> bytes:
        content = self.file.read(size)
        if len(content) < size:
            raise self._damaged("it ends too early")
        return content

    def _damaged(self, why: str) -> ModelError:
        return ModelError(f"{self.path}: damaged, or not a model of CTranslate2: {why}")


def _is_scale(name: str) -> bool:
    return name.endswith("_scale")


def _as_float(tensor: Tensor, scale: Tensor | None) -> Tensor:
    """Return a weight as float32, whole numbers divided by the scale of their row."""
    if scale is None:
        return tensor.float()
    return tensor.float() / scale.float().reshape(-1, *[1] * (tensor.dim() - 1))
