"""Sounds that lie as bytes in a larger file, each named by a path of its own.

    FILE.parquet/ROW/NAME           data sets of the Hugging Face hub: a column of pairs of a file's bytes and its name
    FILE.tar/START-SIZE-CRC/NAME    shards of a corpus, in a folder or under s3:// (`malsori.corpus.shards`)

Of a Parquet file one group of rows is in memory at a time, so that neighbours should be asked for one after another.
"""

import io
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malsori.errors import AudioError, FileError
from malsori.extras import import_extra
from malsori.object_store import address, open_store

if TYPE_CHECKING:
    import pyarrow

#: Ending of the files that may hold sounds.
PARQUET = ".parquet"

_PART = re.compile(r"(\d+)-(\d+)-(\d+)")  # of a tar: the first byte, how many, their CRC-32

#: What pyarrow raises of a file that is damaged, or holds what it does not know.
UNREADABLE = (OSError, ValueError, LookupError, NotImplementedError)


class StoredFile(io.BytesIO):
    """The bytes of a sound as a file that is open to read."""

    mode, name = "rb", ""


def stored_path(table: Path, row: int, name: str) -> Path:
    """Return the path of the sound in a row of a Parquet file."""
    return table / f"{row:07d}" / name


def tar_path(tar: str, part: Sequence[int], name: str) -> str:
    """Return the path, or s3:// address, of the sound in a part of a tar: its first byte, how many, their CRC-32."""
    return f"{tar}/{'-'.join(map(str, part))}/{name}"


def damage(content: bytes, part: Sequence[int]) -> str:
    """Return what is wrong with the bytes that were read of a part of a tar; "" for nothing."""
    _, size, checksum = part
    if len(content) < size:
        return f"{len(content)} of {size} bytes are there"
    return "" if zlib.crc32(content) == checksum else "other bytes than were written"


def rewriting(tar: Path) -> str:
    """Return what to do about a tar of a shard that is damaged or missing."""
    cuts = tar.with_name(f"cuts.{tar.name.split('.')[1]}.jsonl.gz")
    return f"remove {address(cuts)}, and 'malsori corpus shard' writes that shard again"


@lru_cache(maxsize=2)  # a sound is opened several times while it is read
def _part_of_tar(path: Path) -> bytes | None:
    tar, found = path.parent.parent, _PART.fullmatch(path.parent.name)
    if tar.suffix != ".tar" or not found:
        return None
    start, size, checksum = (int(number) for number in found.groups())
    try:
        (content,) = open_store(tar.parent).read_parts([(tar.name, start, size)])
    except FileError as error:
        raise AudioError(f"{error}; {rewriting(tar)}") from error
    if fault := damage(content, (start, size, checksum)):
        raise AudioError(f"{address(tar)}: damaged at {path.name} ({fault}); {rewriting(tar)}")
    return content


def stored_sound(path: Path) -> bytes | None:
    """Return the bytes that a path names inside a Parquet file or a tar; None if it leads into none.

    Raises: AudioError if there is no such row or part, it holds no bytes, or the file is damaged; MissingExtraError.
    """
    if path.parent.parent.suffix == ".tar":
        return _part_of_tar(path)
    table = path.parent.parent
    if table.suffix.lower() != PARQUET or not path.parent.name.isdecimal() or not table.is_file():
        return None
    row = int(path.parent.name)
    try:
        found = _sounds_around(table, table.stat().st_mtime_ns, row)
    except UNREADABLE as error:
        raise AudioError(f"{path}: cannot be read: {error}".splitlines()[0]) from error
    content = found and found[1][row - found[0]].as_py()
    if not content:
        raise AudioError(f"{path}: its row holds no bytes of a sound")
    return bytes(content)


def sound_column(schema: "pyarrow.Schema") -> tuple[str, bool] | None:
    """Return the column of a Parquet file that holds sounds, and whether names stand beside the bytes; None without."""
    import pyarrow

    for field in schema:
        if pyarrow.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return field.name, field.type.get_field_index("path") >= 0
    plain = (field.name for field in schema if _is_binary(field.type))
    return next(((name, False) for name in plain), None)


def open_parquet(table: Path) -> Any:
    """Return a Parquet file, opened. Raises: one of UNREADABLE if it is none; MissingExtraError without pyarrow."""
    import_extra("pyarrow", f"{table}: Parquet")
    from pyarrow.parquet import ParquetFile

    return ParquetFile(table)


@lru_cache(maxsize=1)
def _groups(table: Path, _changed: int) -> tuple[Any, list[int], str]:
    """Return a file, the row after each of its groups, and the path of the bytes in it."""
    file = open_parquet(table)
    column = sound_column(file.schema_arrow)
    ends = [0]
    for group in range(file.metadata.num_row_groups):
        ends.append(ends[-1] + file.metadata.row_group(group).num_rows)
    path = "" if column is None else column[0]
    return file, ends, path


def _sounds_around(table: Path, changed: int, row: int) -> tuple[int, Any] | None:
    """Return the first row of the group that holds a row, and the bytes of that group; None if there is none."""
    _, ends, _ = _groups(table, changed)
    group = next((number for number, end in enumerate(ends[1:]) if row < end), None)
    return None if group is None else _sounds_of(table, changed, group)


@lru_cache(maxsize=1)
def _sounds_of(table: Path, changed: int, group: int) -> tuple[int, Any]:
    file, ends, name = _groups(table, changed)
    column = file.read_row_group(group, columns=[name]).column(0).combine_chunks()
    return ends[group], column if _is_binary(column.type) else column.field("bytes")


def _is_binary(kind: "pyarrow.DataType") -> bool:
    import pyarrow

    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))
