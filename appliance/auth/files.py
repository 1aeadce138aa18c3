"""Small private files in the state directory: readable by their owner only, written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from appliance.errors import StoreError
from appliance.system.files import PRIVATE, write_private

Content = TypeVar("Content", bound=BaseModel)

KEY_BYTES = 32


def load_key(path: Path) -> bytes:
    """The secret key in a file, created when there is none. Raises `StoreError`."""
    try:
        if path.exists() and len(found := path.read_bytes()) >= KEY_BYTES:
            return found
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); correct its rights") from error
    made = secrets.token_bytes(KEY_BYTES)
    write_private(path, made)
    return made


class PrivateFile(Generic[Content]):
    """One model in one JSON file for threads and processes: read when changed, written under a lock."""

    def __init__(self, path: Path, model: type[Content]) -> None:
        self.path, self._model = path, model
        self._thread_lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._kept = model()

    def read(self) -> Content:
        """The content, the defaults without a file; do not change it. Raises `StoreError`."""
        try:
            found = self.path.stat()
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            data = None if stamp == self._stamp else self.path.read_bytes()
        except FileNotFoundError:
            self._kept, self._stamp = self._model(), None
            return self._kept
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read ({error.strerror}); correct its rights") from error
        if data is not None:
            self._kept, self._stamp = self._parsed(data), stamp
        return self._kept

    @contextmanager
    def edit(self) -> Iterator[Content]:
        """A copy to change, written at the end of the block; no other process writes meanwhile."""
        with self._thread_lock, self._locked():
            content = self.read().model_copy(deep=True)
            yield content
            write_private(self.path, content.model_dump_json(indent=1).encode() + b"\n")

    def set_aside(self) -> Path | None:
        """Rename a damaged file; returns its new path, None if it is sound or missing."""
        try:
            self.read()
        except StoreError:
            aside = self.path.with_suffix(".damaged")
            with contextlib.suppress(OSError):
                self.path.replace(aside)
                return aside
        return None

    def _parsed(self, data: bytes) -> Content:
        try:
            return self._model.model_validate_json(data)
        except ValidationError as error:
            fault = error.errors()[0]
            raise StoreError(
                f"{self.path} is damaged ({fault['msg']}); `interview-grader access reset` sets it aside"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, PRIVATE)
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot be locked ({error.strerror}); correct its rights"
            ) from error
        with os.fdopen(descriptor, "rb"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
