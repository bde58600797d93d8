"""What was last found by looks that may hang: whoever asks is not kept waiting by one that does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

Found = dict[str, Any]


class Latest:
    """Looks in a thread of its own each time that it is asked, unless one looks already.

    ``within``: seconds that whoever asks is kept waiting; what an earlier look found is told then, for ``lasting`` seconds.
    """

    def __init__(self, look: Callable[[], Found], within: float, lasting: float) -> None:
        self._look, self._within, self._lasting = look, within, lasting
        self._lock = threading.Lock()
        self._looking: _Looking | None = None
        self._found: tuple[float, Found] | None = None
        self._since = time.monotonic()

    def get(self) -> Found:
        """Return what was found just now or a moment ago, else ``{"unseen": since when}``."""
        looking = self._begun()
        looking.over.wait(max(0.0, looking.began + self._within - time.monotonic()))
        now = time.monotonic()
        with self._lock:
            at, found = self._found or (self._since, None)
        if found is not None and now - at <= self._lasting:
            return found
        return {"unseen": f"unseen for {now - at:.1f} s: a look does not come to its end"}

    def forget(self) -> None:
        """Tell nothing any more of what was so until now: something was changed."""
        with self._lock:
            self._looking, self._found, self._since = None, None, time.monotonic()

    def _begun(self) -> _Looking:
        with self._lock:
            if self._looking is None or self._looking.over.is_set():
                self._looking = _Looking()
                threading.Thread(target=self._finish, args=(self._looking,), name="look", daemon=True).start()
            return self._looking

    def _finish(self, looking: _Looking) -> None:
        try:
            found = self._look()
        except Exception as error:  # noqa: BLE001 - whoever asks is told
            found = {"unseen": f"a defect: {error!r}"}
        with self._lock:
            if self._looking is looking:
                self._found = looking.began, found
        looking.over.set()


class _Looking:
    def __init__(self) -> None:
        self.began, self.over = time.monotonic(), threading.Event()
