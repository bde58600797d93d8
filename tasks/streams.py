"""The lines of an HTTP response that goes on, such as a watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import urllib3


class Stream:
    """The lines of a response that goes on; may be closed from another thread than the one that reads.

    ``as_error`` makes one of our errors of the library's.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, as_error: Callable[[Exception], Exception]) -> None:
        self._response, self._as_error = response, as_error
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield each line when it is there, until the server or ``close`` ends the stream.

        Raises Transient where it broke off: cut, or silent for longer than its timeout.
        """
        rest = b""
        try:
            for chunk in self._response.read_chunked():
                if self._closed:  # ssl takes its layer off a socket that is shut down: what is read then is still encrypted
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line for line in lines if line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # ValueError: read of a socket that was closed
            if not self._closed:
                raise self._as_error(error) from None
        finally:
            self._response.close()

    def close(self) -> None:
        """End the stream; whoever waits for its next line is woken at once."""
        self._closed = True
        try:
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError):
            return  # it has ended by itself
