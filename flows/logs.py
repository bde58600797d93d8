"""What long-lived processes tell, line by line, on standard error; also where Prefect has set up logging for itself."""

from __future__ import annotations

import logging
import sys


def log_to_stderr() -> None:
    """Have every line of Flotilla's own told on standard error, once."""
    ours = logging.getLogger("flotilla")
    if ours.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
