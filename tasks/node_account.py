"""As whom PostgreSQL's programs run: as the agent's own user, or, where the agent is root, as a user of PostgreSQL's own."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flotilla.errors import Permanent


@dataclass(frozen=True)
class Account:
    """A user of the system. ``agent`` is the name of the user that the agent runs as, ``drops`` whether that is another."""

    name: str
    uid: int
    gid: int
    home: str
    agent: str
    drops: bool

    @property
    def how(self) -> dict[str, Any]:
        """How a process is made this user's: arguments of ``subprocess.Popen``.

        Its environment is made anew: libpq reads files of HOME's, and many variables (PGSSLMODE, PGOPTIONS, ...).
        """
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": self.home, "USER": self.name, "TZ": "UTC"}
        return {"env": env, **({"user": self.uid, "group": self.gid, "extra_groups": []} if self.drops else {})}

    def own(self, *paths: Path | int) -> None:
        """Have paths, or open files, belong to it. No link is followed: this user may have made it for root to follow."""
        for path in paths if self.drops else ():
            if isinstance(path, int):
                os.fchown(path, self.uid, self.gid)
            else:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def keep_out(self, folder: Path) -> None:
        """Have a folder be the agent's own: this user reads the files in it that are its own, and makes or moves none there."""
        if self.drops:
            os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)
            folder.chmod(0o711)


def account(wanted: str) -> Account:
    """Return the user that PostgreSQL runs as; raises Permanent where there is none, or the agent may not become it."""
    try:
        own, found = pwd.getpwuid(os.geteuid()), pwd.getpwnam(wanted)
    except KeyError as error:
        raise Permanent(f"this system has no user {error}: name the one that PostgreSQL runs as in postgres.user") from None
    if found.pw_uid == 0:
        raise Permanent("PostgreSQL does not run as root: name another user in postgres.user")
    if own.pw_uid not in (0, found.pw_uid):
        raise Permanent(f"the agent runs as {own.pw_name}, PostgreSQL as {wanted}: run it as {wanted}, or as root")
    return Account(wanted, found.pw_uid, found.pw_gid, found.pw_dir, own.pw_name, drops=own.pw_uid == 0)
