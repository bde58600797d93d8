"""A cable that takes its time: two TAP devices, every frame handed from one to the other after a delay. Run as a program.

    delayline.py OUTER INNER SETTINGS

The kernels that the lab runs on have no netem. OUTER and INNER are made here and live as long as this process. SETTINGS is a
JSON file, read at the start and at each SIGHUP: seconds that a frame takes "in" (from OUTER to INNER) and "out".
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import struct
import sys
import time
from collections import deque
from pathlib import Path

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_TAP_WITHOUT_HEADER = 0x0002 | 0x1000  # IFF_TAP | IFF_NO_PI
_LARGEST = 65_536
_AT_ONCE = 64  # frames read from one end before the other has its turn
_ON_THE_WAY = 50_000  # frames; what comes when so many are under way is lost, as on any full line


class DelayLine:
    """Both ends and what is on its way between them."""

    def __init__(self, outer: str, inner: str, settings: Path) -> None:
        self._settings = settings
        self._ends = {"in": tap(outer), "out": tap(inner)}  # where frames come from that go in, or out
        self._target = {"in": self._ends["out"], "out": self._ends["in"]}
        self._way: dict[str, deque[tuple[float, bytes]]] = {"in": deque(), "out": deque()}
        self._delay = {"in": 0.0, "out": 0.0}
        self.read_settings()

    def read_settings(self, *_: object) -> None:
        """Take the delays from the file; what is on its way arrives as it was to."""
        found = json.loads(self._settings.read_text())
        self._delay = {way: float(found[way]) for way in self._delay}

    def run(self) -> None:
        """Carry frames for good."""
        while True:
            self._arrive()
            ready, _, _ = select.select(list(self._ends.values()), [], [], self._until_next())
            for way, end in self._ends.items():
                if end in ready:
                    self._depart(way, end)

    def _depart(self, way: str, end: int) -> None:
        on_the_way = self._way[way]
        for _ in range(_AT_ONCE):
            try:
                frame = os.read(end, _LARGEST)
            except OSError:  # nothing more, or its link is down
                return
            if len(on_the_way) < _ON_THE_WAY:
                on_the_way.append((time.monotonic() + self._delay[way], frame))

    def _arrive(self) -> None:
        for way, on_the_way in self._way.items():
            while on_the_way and on_the_way[0][0] <= time.monotonic():
                _, frame = on_the_way.popleft()
                with contextlib.suppress(OSError):  # the link of the other end is down: a cut site hears nothing
                    os.write(self._target[way], frame)

    def _until_next(self) -> float | None:
        due = [on_the_way[0][0] for on_the_way in self._way.values() if on_the_way]
        return max(0.0, min(due) - time.monotonic()) if due else None


def tap(name: str) -> int:
    """Make a TAP device of that name; return what its frames are read from and written to."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", name.encode(), _TAP_WITHOUT_HEADER))
    return device


def main() -> None:
    """Run until ended."""
    line = DelayLine(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    signal.signal(signal.SIGHUP, line.read_settings)
    line.run()


if __name__ == "__main__":
    main()
