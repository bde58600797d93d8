"""`flotilla alerts receive`: the receiver of alerts as a plain process."""

from __future__ import annotations

import os
import signal
import threading

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.fleet import Fleet
from flotilla.metrics.config import Receiver, listen_address
from flows.alerts import Tell, Watch, log, taker
from tasks.receiver import PATH, open_receiver


def receive_for_good(fleet: Fleet, tell: Tell | None = None) -> None:
    """Take alerts until SIGTERM or SIGINT; ``tell`` is called with each decision."""
    receiver = fleet.metrics.receiver
    listen, token = _listen(receiver), _token(receiver)
    server = open_receiver(listen, token, taker(Watch(fleet), tell or (lambda _: None)))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    log.info("alerts are taken at http://%s%s", listen, PATH)
    with server:
        server.serve_forever()
    log.info("ended")


def _listen(receiver: Receiver) -> str:
    name = receiver.listen_env
    given = os.environ.get(name) if name else None
    try:
        return listen_address(given or receiver.listen)
    except ValueError as error:
        raise InvalidInput([Problem("environment", name or "", given or "", str(error))]) from None


def _token(receiver: Receiver) -> str:
    if token := os.environ.get(receiver.token_env):
        return token
    allowed = "the token that Alertmanager shows (http_config.authorization): without one nobody is listened to"
    raise InvalidInput([Problem("environment", receiver.token_env, phrase("is not set"), allowed)])
