"""What keeper and command line tell each other through the clusters: withdrawals that wait, and a person's word on them.

A ConfigMap in every cluster, so that no lost cluster takes it along; the newest is as good as any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from flotilla.errors import FlotillaError
from flotilla.services.holding import Held, Word, read_held, read_word, write_held, write_word
from flotilla.services.names import KEEPER
from tasks.clusters import Connection, refused
from tasks.fanout import side_by_side
from tasks.leadership import NAMESPACE, make_namespace

NAME = "flotilla-keeper-withdrawals"
HELD, WORD = "held.json", "word.json"
PERSON = "flotilla-person"  # the field manager of the word: the keeper's applies leave it alone
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"
TIMEOUT = 5.0  # seconds


def publish_held(connections: Iterable[Connection], held: Iterable[Held]) -> dict[str, FlotillaError]:
    """Tell in every cluster what waits; return the clusters in which that could not be done, and why."""
    return _applied(connections, KEEPER, {HELD: write_held(held)})


def say(connections: Iterable[Connection], word: Word) -> dict[str, FlotillaError]:
    """Leave a person's word in every cluster; return the clusters in which that could not be done, and why."""
    return _applied(connections, PERSON, {WORD: write_word(word)})


def read_all(
    connections: Iterable[Connection],
) -> tuple[dict[str, tuple[Held, ...]], dict[str, Word], dict[str, FlotillaError]]:
    """Return what waits and what was said, by cluster, and the clusters that could not be asked.

    What is not as the keeper or the command line writes it counts as not there: nobody agrees by a slip of the pen.
    """
    found = side_by_side(connections, _read)
    held: dict[str, tuple[Held, ...]] = {}
    words: dict[str, Word] = {}
    for connection, data in found.items():
        if isinstance(data, FlotillaError):
            continue
        if HELD in data:
            held[connection.name] = read_held(data[HELD])
        if WORD in data:
            words[connection.name] = read_word(data[WORD])
    return held, words, {one.name: error for one, error in found.items() if isinstance(error, FlotillaError)}


def _read(connection: Connection) -> dict[str, str]:
    answer = connection.request("GET", PATH, timeout=TIMEOUT)
    if answer.status == 404:
        return {}
    if answer.status != 200:
        raise refused(connection.name, f"read ConfigMap {NAMESPACE}/{NAME}", answer)
    data: dict[str, str] = answer.body.get("data") or {}
    return {name: text for name, text in data.items() if _is_readable(name, text)}


def _is_readable(name: str, text: str) -> bool:
    try:
        read_held(text) if name == HELD else read_word(text)
    except ValueError:
        return False
    return True


def _applied(connections: Iterable[Connection], manager: str, data: dict[str, str]) -> dict[str, FlotillaError]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": data}

    def apply(connection: Connection) -> None:
        query = {"fieldManager": manager, "force": "true"}
        for last in (False, True):
            answer = connection.request(
                "PATCH", PATH, query=query, body=body, content_type="application/apply-patch+yaml", timeout=TIMEOUT
            )
            if answer.status == 404 and not last:
                make_namespace(connection)
            elif answer.status not in (200, 201):
                raise refused(connection.name, f"apply ConfigMap {NAMESPACE}/{NAME}", answer)

    done = side_by_side(connections, apply)
    return {connection.name: error for connection, error in done.items() if error}
