"""What runs for good runs once: a lock in this machine's `.flotilla` that ends with the process, however that ends.

Not Prefect's concurrency limit: a run under one is ended by its own engine where the server is away when the limit's lease
is to be renewed, every 225 s (prefect.concurrency._leases, raise_on_lease_renewal_failure); these are to outlive the server.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.prefect_api import home


@contextmanager
def only_one(name: str) -> Iterator[bool]:
    """Yield whether no other process of this home does what is called so; none can begin to until this one is done."""
    folder = home() / "only"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
