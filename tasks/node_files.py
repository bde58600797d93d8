"""Files of a node: written so that they are there, whole, after the power failed; and the lock that only one agent holds."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from flotilla.errors import Permanent
from flotilla.node.memory import Memory, from_text, to_text
from tasks.node_account import Account


def keep(file: Path, text: str, owner: Account | None = None) -> bool:
    """Have a file hold a text, on disk; the old one or the new one is there at any time. False where it held it already."""
    if file.is_file() and file.read_text() == text:
        return False
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(handle)
        if owner:
            owner.own(handle)
    unfinished.rename(file)
    sync_folder(file.parent)
    return True


def unfollowed(path: str, flags: int) -> int:
    """Open a file of the agent's, and none that a link in its place leads to: an opener for ``open``."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def sync_folder(folder: Path) -> None:
    """Have what was made, renamed or removed in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def removed(file: Path) -> bool:
    """Have no such file, on disk; False where there was none."""
    if not file.exists():
        return False
    file.unlink()
    sync_folder(file.parent)
    return True


def read_secret(file: Path, what: str) -> str:
    """Return what a file holds, without the line's end; raises Permanent where it holds nothing or can't be read."""
    try:
        secret = file.read_text().strip()
    except OSError as error:
        raise Permanent(f"{what} cannot be read from {file}: {error.strerror}") from None
    if not secret or "\n" in secret:
        raise Permanent(f"{file} holds no {what}: expected one line")
    return secret


class Recollection:
    """The agent's memory, on disk before anybody is told of it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.now = from_text(file.read_text(), str(file)) if file.exists() else Memory()

    def become(self, made: Callable[[Memory], Memory]) -> bool:
        """Keep what is made of the memory of now; False where that is the same."""
        with self._lock:
            memory = made(self.now)
            if memory == self.now:
                return False
            keep(self._file, to_text(memory))
            self.now = memory
            return True

    def change(self, **changes: Any) -> bool:
        """Keep the memory with some things changed; False where they were so."""
        return self.become(lambda memory: replace(memory, **changes))


class Alone:
    """The lock that only one agent of a state folder holds; it is free again when the process is gone, however that went."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "agent.lock"
        self._handle = unfollowed(str(self._file), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = self._file.read_text().strip()
            os.close(self._handle)
            raise Permanent(f"another agent (pid {holder or 'unknown'}) holds {self._file}: end that one first") from None
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Give it back."""
        os.close(self._handle)
