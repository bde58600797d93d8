"""A fleet of three real Kubernetes clusters on this machine, for the demo, the tests and drills.

`python -m lab --help` is the command line; the same verbs are here as functions.
"""

from lab.errors import CommandFailed, LabError, TookTooLong
from lab.status import ClusterStatus, LabStatus
from lab.verbs import cloudnativepg, cut, down, ensure, heal, image, kill, look, slow, start, stop, up, wan

__all__ = [
    "ClusterStatus",
    "CommandFailed",
    "LabError",
    "LabStatus",
    "TookTooLong",
    "cloudnativepg",
    "cut",
    "down",
    "ensure",
    "heal",
    "image",
    "kill",
    "look",
    "slow",
    "start",
    "stop",
    "up",
    "wan",
]
