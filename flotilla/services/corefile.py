"""CoreDNS' Corefile: whether it serves `clusterset.local`, and the smallest change after which it does.

The syntax is Caddy's (coredns.io/manual/configuration): server blocks of plugins, each with words behind it and, in braces,
options. Nothing of a Corefile is rewritten but what has to be, so that comments and layout stay.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

ZONE = "clusterset.local"
_LOCAL_ZONE = "cluster.local"  # Kubernetes' default; clusters may have another one

_TOKEN = re.compile(r'#[^\n]*|"(?:\\.|[^"\\])*"|[^\s]+')
_ELSEWHERE = ("forward", "lighthouse", "multicluster", "proxy")
"""Plugins by which another one than `kubernetes` answers a zone: lighthouse is Submariner's, multicluster an external one."""


@dataclass(frozen=True)
class Answer:
    """What a Corefile says about the zone.

    ``served_by`` is the plugin that answers it, "" where none does. ``wanted`` is the text that would serve it, None
    where that is served or where nobody but a person can tell; ``reason`` says why not. ``reloads`` tells whether
    CoreDNS takes up a changed Corefile by itself.
    """

    served_by: str
    reason: str = ""
    wanted: str | None = None
    reloads: bool = False


@dataclass(frozen=True)
class _Token:
    text: str
    line: int
    start: int
    end: int


@dataclass
class _Plugin:
    words: list[_Token]
    options: list[list[_Token]] = field(default_factory=list)
    opened: _Token | None = None

    @property
    def name(self) -> str:
        return self.words[0].text

    @property
    def zones(self) -> list[str]:
        return [word.text.rstrip(".") for word in self.words[1:]]

    @property
    def home(self) -> str:
        """The zone of the cluster's own names, "" where none stands there by name."""
        forward = [zone for zone in self.zones if not zone.endswith(".arpa") and not zone.startswith("{")]
        return _LOCAL_ZONE if _LOCAL_ZONE in forward else next((zone for zone in forward if zone != ZONE), "")

    def option(self, name: str) -> list[_Token]:
        return next((option for option in self.options if option[0].text == name), [])


@dataclass
class _Server:
    keys: list[_Token]
    plugins: list[_Plugin] = field(default_factory=list)

    def covers(self, zone: str) -> bool:
        """Whether questions in a zone may come here, by the zone in its keys."""
        return any(not (own := _zone(key.text)) or zone == own or zone.endswith(f".{own}") for key in self.keys)

    def is_for(self, zone: str) -> bool:
        return any(_zone(key.text) == zone for key in self.keys)


def read_corefile(text: str) -> Answer:
    """Return what a Corefile says about `clusterset.local`, and what it has to say so that CoreDNS serves it."""
    try:
        servers = list(_servers(_tokens(text)))
    except ValueError as error:
        return Answer("", f"the Corefile cannot be read: {error}")
    reloads = any(plugin.name == "reload" for server in servers for plugin in server.plugins)
    if other := _answered_elsewhere(servers):
        return Answer(other, reloads=reloads)
    found = [(server, plugin) for server in servers for plugin in server.plugins if plugin.name == "kubernetes"]
    chosen = next(((server, plugin) for server, plugin in found if plugin.home), None)
    if chosen is None:
        held = "its kubernetes plugin names no zone of the cluster" if found else "it has no kubernetes plugin"
        return Answer("", f"{held}, expected `kubernetes {_LOCAL_ZONE}`: add {ZONE} by hand", reloads=reloads)
    wanted = _edited(text, *_edits(*chosen))
    return Answer("kubernetes", reloads=reloads) if wanted == text else Answer("", _lack(*chosen), wanted, reloads)


def difference(before: str, after: str, name: str = "Corefile") -> str:
    """Return a change as a unified diff that `patch` takes."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="", n=2)
    return "\n".join(lines) + "\n" if before != after else ""


def _answered_elsewhere(servers: list[_Server]) -> str:
    """Return the plugin that answers the zone in place of `kubernetes`, or nothing."""
    for server in servers:
        for plugin in server.plugins:
            named = ZONE in plugin.zones and server.covers(ZONE)
            if plugin.name in _ELSEWHERE and (server.is_for(ZONE) or (named and plugin.name != "forward")):
                return plugin.name
            if plugin.name == "forward" and named and plugin.zones[0] == ZONE:
                return plugin.name
    return ""


def _lack(server: _Server, plugin: _Plugin) -> str:
    lacks = [] if server.covers(ZONE) else [f"the server block {' '.join(key.text for key in server.keys)} is not for {ZONE}"]
    lacks += [] if ZONE in plugin.zones else [f"the kubernetes plugin has no zone {ZONE}"]
    lacks += [] if _multicluster(plugin) else [f"it has no option `multicluster {ZONE}`"]
    return ", and ".join(lacks)


def _multicluster(plugin: _Plugin) -> bool:
    return any(word.text.rstrip(".") == ZONE for word in plugin.option("multicluster")[1:])


def _edits(server: _Server, plugin: _Plugin) -> Iterator[tuple[int, str]]:
    """Yield what to insert where, so that the plugin serves the zone."""
    if not server.covers(ZONE):
        key = server.keys[0]
        yield key.end, " " + key.text.replace(_zone(key.text), ZONE)
    if ZONE not in plugin.zones:
        word = next(word for word in plugin.words[1:] if word.text.rstrip(".") == plugin.home)
        yield word.end, f" {ZONE}"
    if _multicluster(plugin):
        return
    if option := plugin.option("multicluster"):
        yield option[-1].end, f" {ZONE}"
    elif plugin.opened is None:
        yield plugin.words[-1].end, f" {{\n{{indent}}    multicluster {ZONE}\n{{indent}}}}"
    else:
        yield plugin.opened.end, f"\n{{option}}multicluster {ZONE}"


def _edited(text: str, *edits: tuple[int, str]) -> str:
    """Return a text with insertions at offsets, made from the end on; new lines are indented like their neighbours."""
    for offset, insertion in sorted(edits, reverse=True):
        rest = text[offset : (text + "\n").find("\n", offset)]
        if insertion.startswith("\n") and rest.lstrip().startswith("#"):
            offset += len(rest)  # a comment stays with its line
        line = text[text.rfind("\n", 0, offset) + 1 : offset]
        indent = line[: len(line) - len(line.lstrip())]
        following = text[offset:].lstrip("\n").split("\n", 1)[0]
        option = following[: len(following) - len(following.lstrip())]
        deeper = option if len(option) > len(indent) else indent + "    "
        insertion = insertion.replace("{indent}", indent).replace("{option}", deeper)
        text = text[:offset] + insertion + text[offset:]
    return text


def _zone(key: str) -> str:
    """Return the zone in a server block's key ("dns://cluster.local.:53" -> "cluster.local"), "" for the root."""
    return re.sub(r":\d+$", "", key.rstrip(",").partition("://")[2] or key.rstrip(",")).rstrip(".")


def _tokens(text: str) -> list[_Token]:
    found = (match for match in _TOKEN.finditer(text) if not match[0].startswith("#"))
    return [_Token(match[0], text.count("\n", 0, match.start()), match.start(), match.end()) for match in found]


def _servers(tokens: list[_Token]) -> Iterator[_Server]:
    """Yield the server blocks; raises ValueError where braces do not match."""
    rest = iter(tokens)
    keys: list[_Token] = []
    for token in rest:
        if token.text == "}":
            raise ValueError(f"line {token.line + 1} closes a block that was not opened")
        if token.text != "{":
            keys.append(token)
            continue
        server, keys = _Server(keys), []
        server.plugins = list(_plugins(rest, token))
        yield server
    if keys:
        raise ValueError(f"line {keys[0].line + 1}: {keys[0].text!r} is followed by no block")


def _plugins(rest: Iterator[_Token], opened: _Token) -> Iterator[_Plugin]:
    """Yield the plugins of a server block, up to the brace that closes it."""
    plugin: _Plugin | None = None
    depth = 0
    for token in rest:
        if token.text == "{":
            depth += 1
            if plugin and depth == 1:
                plugin.opened = token
        elif token.text == "}":
            depth -= 1
            if depth < 0:
                if plugin:
                    yield plugin
                return
        elif depth == 0 and (plugin is None or plugin.opened or plugin.words[-1].line != token.line):
            if plugin:
                yield plugin
            plugin = _Plugin([token])
        elif plugin and depth == 0:
            plugin.words.append(token)
        elif plugin and plugin.options and plugin.options[-1][-1].line == token.line:
            plugin.options[-1].append(token)
        elif plugin:
            plugin.options.append([token])
    raise ValueError(f"the block opened in line {opened.line + 1} is not closed")
