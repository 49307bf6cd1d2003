"""Files in a folder, or under s3://BUCKET/PREFIX of an S3-compatible server: read in parts, written whole or not.

Where the server is and who asks is told by the standard variables (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_PROFILE) and ~/.aws, as boto3 (extra `s3`) reads them.
"""

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from malsori.errors import FileError, OptionError
from malsori.extras import import_extra
from malsori.files import atomic_file

#: A part of a file: its name, where it begins, how many bytes it has.
Part = tuple[str, int, int]

_S3 = re.compile(r"s3:/{1,2}(?=[^/])")  # a Path keeps one of the two slashes
_SCHEME = re.compile(r"\w+://")
_TIMEOUTS = {"connect_timeout": 10, "read_timeout": 60, "retries": {"total_max_attempts": 4, "mode": "standard"}}
#: Checksums only where they must be: many servers that speak S3 know none of the newer ones.
_PLAIN = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
_CONNECTIONS = 16


@runtime_checkable
class Store(Protocol):
    """Files under one place, by their names relative to it. What cannot be done raises FileError, in one line."""

    def read(self, name: str) -> bytes:
        """Return a whole file."""

    def read_parts(self, parts: Sequence[Part]) -> list[bytes]:
        """Return parts of files; one is shorter where its file ends early."""

    def has(self, name: str) -> bool:
        """Return whether there is such a file."""

    def names(self, folder: str = "") -> Iterator[str]:
        """Yield the names of the files in a folder ("": of all that lies at the top), in any order."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""

    def put(self, name: str, path: Path) -> None:
        """Write a file that lies at a path, whole or not at all; it may be moved away from there."""


def is_remote(place: Path | str) -> bool:
    """Return whether a place is no folder of this machine: s3://BUCKET/PREFIX.

    Raises: OptionError for an address of another kind.
    """
    text = str(place)
    if _S3.match(text):
        return True
    if _SCHEME.match(text):
        raise OptionError(f"{text}: neither a folder nor s3://BUCKET/PREFIX")
    return False


def address(place: Path | str) -> str:
    """Return a place as it is written: with both slashes of s3://, of which a Path keeps one.

    >>> address(Path("s3://bucket/corpus"))
    's3://bucket/corpus'
    """
    return _S3.sub("s3://", str(place), count=1)


def open_store(place: Path | str) -> Store:
    """Return the files under a folder or an s3:// address. Raises: OptionError; MissingExtraError without boto3."""
    if not is_remote(place):
        return FolderStore(Path(place))
    import_extra("boto3", "s3://")
    bucket, _, prefix = address(place).removeprefix("s3://").strip("/").partition("/")
    return S3Store(bucket, prefix + "/" if prefix else "")


@dataclass(frozen=True)
class FolderStore:
    """Files in a folder."""

    folder: Path

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        with _told(self.folder / name):
            return (self.folder / name).read_bytes()

    def read_parts(self, parts: Sequence[Part]) -> list[bytes]:
        """Return parts of files; one is shorter where its file ends early."""
        found = []
        for name, start, size in parts:
            with _told(self.folder / name), (self.folder / name).open("rb") as file:
                file.seek(start)
                found.append(file.read(size))
        return found

    def has(self, name: str) -> bool:
        """Return whether there is such a file."""
        return (self.folder / name).is_file()

    def names(self, folder: str = "") -> Iterator[str]:
        """Yield the names of the files in a folder, in any order."""
        place = self.folder / folder
        yield from (str(path.relative_to(self.folder)) for path in (place.iterdir() if place.is_dir() else ()))

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        with atomic_file(self.folder / name) as temporary:
            temporary.write_bytes(content)

    def put(self, name: str, path: Path) -> None:
        """Move a file here."""
        with atomic_file(self.folder / name) as temporary:
            path.replace(temporary)


@dataclass(frozen=True)
class S3Store:
    """Objects of a bucket under a prefix, which is empty or ends in a slash."""

    bucket: str
    prefix: str

    def read(self, name: str) -> bytes:
        """Return a whole object."""
        with self._asked(name) as client:
            return client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()

    def read_parts(self, parts: Sequence[Part]) -> list[bytes]:
        """Return parts of objects, asked for at a time; one is shorter where its object ends early."""
        if len(parts) < 2:
            return [self._read_part(part) for part in parts]
        with ThreadPoolExecutor(min(len(parts), _CONNECTIONS)) as pool:
            return list(pool.map(self._read_part, parts))

    def has(self, name: str) -> bool:
        """Return whether there is such an object."""
        return any(found == name for found in self._listed(name))

    def names(self, folder: str = "") -> Iterator[str]:
        """Yield the names of the objects under a folder, in any order."""
        yield from self._listed(f"{folder}/" if folder else "")

    def write(self, name: str, content: bytes) -> None:
        """Write an object."""
        with self._asked(name) as client:
            client.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=content)

    def put(self, name: str, path: Path) -> None:
        """Upload a file, a large one in pieces; the object is there once all of them are."""
        with self._asked(name) as client:
            client.upload_file(str(path), self.bucket, self.prefix + name)

    def _read_part(self, part: Part) -> bytes:
        name, start, size = part
        span = f"bytes={start}-{start + size - 1}"
        with self._asked(name) as client:
            return client.get_object(Bucket=self.bucket, Key=self.prefix + name, Range=span)["Body"].read()

    def _listed(self, start: str) -> Iterator[str]:
        with self._asked(start) as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + start)
            for page in pages:
                yield from (found["Key"].removeprefix(self.prefix) for found in page.get("Contents", ()))

    @contextmanager
    def _asked(self, name: str) -> Iterator[Any]:
        """Yield a client. Raises: FileError for what the server, or the way to it, refuses."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        client: Any = None
        try:
            client = _client(os.getpid())
            yield client
        except (ClientError, BotoCoreError, Boto3Error) as error:
            reason = _reason(error.__context__ if isinstance(error, Boto3Error) else error, self.bucket, client)
            raise FileError(f"s3://{self.bucket}/{self.prefix}{name}: {reason}") from error


@lru_cache(maxsize=1)
def _client(_process: int) -> Any:
    """Return this process's own client: one that was forked with its connections may not be used."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client("s3", config=Config(max_pool_connections=_CONNECTIONS, **_TIMEOUTS, **_PLAIN))


def _reason(error: BaseException | None, bucket: str, client: Any) -> str:
    """Return what a server's refusal, or that there is no server, means to who asked."""
    from botocore import exceptions

    server = client.meta.endpoint_url if client else "the server"
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials"
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return f"nobody answers at {server}, or the connection broke; AWS_ENDPOINT_URL says where the storage is"
    if not isinstance(error, exceptions.ClientError):
        return f"{error}; see AWS_ENDPOINT_URL, AWS_PROFILE and ~/.aws"
    code, told = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code == "NoSuchBucket":
        return f"there is no bucket '{bucket}' at {server}; make it, or name another"
    if code in ("NoSuchKey", "404"):
        return "no such file"
    if code in ("InvalidRange", "416"):
        return "is shorter than it was written: damaged"
    return f"{server} refuses ({code}: {told}); see the credentials, and what they may do"


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
        raise FileError(f"{path}: {reason}") from error
