"""The register of labs on this machine: which slot belongs to which folder, so that no two labs ever collide."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError
from lab.layout import SLOTS, preferred_slot, public_ports


def registry() -> Path:
    """Where labs are registered: gone with a reboot, like the labs themselves."""
    if os.geteuid() == 0 and Path("/run").is_dir():
        return Path("/run/flotilla-lab")
    return Path(tempfile.gettempdir()) / f"flotilla-lab-{os.geteuid()}"


def limit_before() -> Path:
    """Where the kernel's limit stands that labs have raised: beside the register, to be restored after the last of them."""
    return registry() / "max_user_instances"


def find(directory: Path) -> int | None:
    """Find the slot that a folder is registered under."""
    return next((slot for slot, holder in _registered().items() if holder == directory), None)


def owner(slot: int) -> Path | None:
    """Find the folder that a slot is registered to."""
    return _registered().get(slot)


def reclaim(directory: Path, slot: int) -> int:
    """Register a folder under the slot that it had before: a reboot empties the register, but not the folder."""
    with alone_in(registry()):
        holder = owner(slot) or directory
        if holder != directory:
            raise LabError(f"slot {slot} of {directory} has gone to {holder} meanwhile: run `python -m lab down`, then up")
        (registry() / str(slot)).write_text(str(directory))
    return slot


def claim(directory: Path, objection: Callable[[int], str]) -> int:
    """Register a folder under the first slot that nobody has and nothing speaks against.

    `objection` names what of a slot is in use on this machine, whoever uses it.
    """
    with alone_in(registry()):
        taken = _registered()
        first = preferred_slot(directory)
        objections = {}
        for slot in ((first + step) % SLOTS for step in range(SLOTS)):
            objections[slot] = f"it belongs to {taken[slot]}" if slot in taken else objection(slot) or _port_in_use(slot)
            if not objections[slot]:
                (registry() / str(slot)).write_text(str(directory))
                return slot
    raise LabError(f"no free slot for a lab among {SLOTS}; slot {first}: {objections[first]}. End a lab that is not needed")


def release(directory: Path, after_last: Callable[[], None]) -> None:
    """Give a folder's slot back, no registration is fine; `after_last` is called when no lab is left on this machine."""
    with alone_in(registry()):
        for slot, holder in _registered().items():
            if holder == directory:
                (registry() / str(slot)).unlink()
        if not _registered():
            after_last()
            registry().rmdir()


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Hold a folder, made if need be, against everybody else who wants it so."""
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _still_there(directory, handle):  # else its last holder removed it while we waited
                yield
                return
        finally:
            os.close(handle)


def _still_there(directory: Path, handle: int) -> bool:
    try:
        return os.path.samestat(directory.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _registered() -> dict[int, Path]:
    folder = registry()
    return {int(file.name): Path(file.read_text()) for file in folder.glob("[0-9]*")} if folder.exists() else {}


def _port_in_use(slot: int) -> str:
    for port in public_ports(slot):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                return f"port {port} of 127.0.0.1 is in use ({error})"
    return ""
