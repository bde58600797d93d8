"""What is told about the ground for services: findings, and the table that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Topic(StrEnum):
    """What a finding is about; the columns of the table, in their order."""

    API = "API"
    CLUSTER_ID = "cluster id"
    PODS = "pod range"
    DNS = "DNS"
    RIGHTS = "rights"
    REACH = "reaches"


class State(StrEnum):
    """How a finding stands: a problem keeps services from working, a note does not."""

    FINE = "fine"
    NOTE = "note"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Item:
    """One finding. ``short`` is a table's cell, ``text`` the sentence and ``change`` what to run, both "" where all is well."""

    cluster: str
    topic: Topic
    state: State
    short: str
    text: str = ""
    change: str = ""


def is_sound(items: Sequence[Item]) -> bool:
    """Tell whether nothing is known to keep services from working, and every try to reach pods could be made.

    What else nobody could look at is shown and fails nothing: pod ranges, say, some clusters tell nowhere.
    """
    return not any(item.state is State.PROBLEM or (item.state, item.topic) == (State.UNKNOWN, Topic.REACH) for item in items)


def rows(items: Sequence[Item]) -> list[dict[str, str]]:
    """Return a table: a row per cluster, a column per topic that there is a finding about, the worst finding in each cell."""
    weight = {state: number for number, state in enumerate((State.FINE, State.NOTE, State.UNKNOWN, State.PROBLEM))}
    topics = [topic for topic in Topic if any(item.topic is topic for item in items)]
    table = []
    for cluster in dict.fromkeys(item.cluster for item in items):
        row = {"cluster": cluster}
        for topic in topics:
            found = [item for item in items if item.cluster == cluster and item.topic is topic]
            row[topic] = max(found, key=lambda item: weight[item.state]).short if found else ""
        table.append(row)
    return table
