"""`flotilla alerts receive`: the receiver of alerts as a plain process."""

from __future__ import annotations

import os
import signal
import threading

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.fleet import Fleet
from flotilla.metrics.config import Listener, listen_address
from flows.alerts import PATH, Tell, Watch, intake, log
from tasks.intake import open_intake


def receive_for_good(fleet: Fleet, tell: Tell | None = None) -> None:
    """Take alerts until SIGTERM or SIGINT; ``tell`` is called with each decision."""
    receiver = fleet.metrics.receiver
    listen = listening_at(receiver)
    token = token_of(receiver.token_env, "the token that Alertmanager shows (http_config.authorization)")
    server = open_intake(listen, intake(Watch(fleet), token, tell or (lambda _: None)))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    log.info("alerts are taken at http://%s%s", listen, PATH)
    with server:
        server.serve_forever()
    log.info("ended")


def listening_at(listener: Listener) -> str:
    """Return HOST:PORT; raises InvalidInput where the environment says something else."""
    name = listener.listen_env
    given = os.environ.get(name) if name else None
    try:
        return listen_address(given or listener.listen)
    except ValueError as error:
        raise InvalidInput([Problem("environment", name or "", given or "", str(error))]) from None


def token_of(variable: str, what: str) -> str:
    """Return the token that a variable holds; raises InvalidInput where it holds none."""
    if token := os.environ.get(variable):
        return token
    raise InvalidInput([Problem("environment", variable, phrase("is not set"), f"{what}: without one nobody is listened to")])
