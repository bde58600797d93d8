"""The mirror of one cluster: what it holds of all services, as facts, kept up to date by watches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from flotilla.facts import Unknown
from flotilla.objects import Manifest
from flotilla.services.facts import ClusterView, NamespaceFact
from flotilla.services.names import (
    CLUSTER_ID_PROPERTY,
    GROUP,
    KEEPER,
    NATIVE_LABEL,
    OURS_LABEL,
    SERVICE_LABEL,
    ServiceKey,
    derived_name,
)
from flotilla.services.parse import (
    cluster_id,
    parse_cluster_property,
    parse_export,
    parse_import,
    parse_namespace,
    parse_service,
    parse_slice,
)
from tasks.clusters import Connection
from tasks.objects import Kind
from tasks.served import Served, look_at_served, properties_kind
from tasks.tables import Change, Entry, Table, Unreadable
from tasks.watches import Lifeline, Watch

NAMESPACES = Kind("v1", "Namespace", "namespaces", namespaced=False)
SERVICES = Kind("v1", "Service", "services", namespaced=True)
SLICES = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", namespaced=True)


class News(NamedTuple):
    """What may have to be decided again: some services, all those of some namespaces, or everything."""

    keys: Collection[ServiceKey] = ()
    namespaces: Collection[str] = ()
    everything: bool = False


class Mirror:
    """What one cluster holds. ``tell`` is called, from any thread, when something may have to be decided again.

    A cluster is Unknown until every watch has listed once, and whenever one of them cannot look or the API server gives no
    sign of life; what was seen before stays for ``last_of``.
    """

    def __init__(self, connection: Connection, tell: Callable[[News], None]) -> None:
        self.connection, self.name, self._tell = connection, connection.name, tell
        self._lock = threading.RLock()
        self._served = Served()
        self._id, self._reason, self._was_whole = "", "not looked at yet", False
        self._slices_of: dict[ServiceKey, dict[str, Entry]] = {}
        self.lifeline = Lifeline(connection, self._turned)
        self.tables = {
            "Namespace": self._table(_no_key, parse_namespace),
            "ClusterProperty": self._table(_no_key, parse_cluster_property),
            "Service": self._table(_service_key, parse_service),
            "EndpointSlice": self._table(_slice_key, parse_slice, slices=True),
            "ServiceExport": self._table(_key, parse_export),
            "ServiceImport": self._table(_key, parse_import),
        }
        self._watches = {
            "Namespace": self._watch("Namespace", lambda: NAMESPACES),
            "ClusterProperty": self._watch("ClusterProperty", lambda: properties_kind(connection), optional=True),
            "Service": self._watch("Service", lambda: SERVICES),
            "EndpointSlice": self._watch("EndpointSlice", lambda: SLICES),
            "ServiceExport": self._watch("ServiceExport", lambda: self.mcs_kind("ServiceExport", look=True)),
            "ServiceImport": self._watch("ServiceImport", lambda: self.mcs_kind("ServiceImport", look=True)),
        }

    def start(self) -> None:
        """Begin to look."""
        self.lifeline.start()
        for kind, watch in self._watches.items():
            watch.start(f"watch-{self.name}-{kind}")

    def stop(self) -> None:
        """Look no more; the threads are gone shortly after."""
        self.lifeline.stop()
        for watch in self._watches.values():
            watch.stop()

    @property
    def unknown(self) -> Unknown | None:
        """Why nobody can look at this cluster; None if somebody can."""
        return Unknown(self.name, self._reason) if self._reason else None

    @property
    def is_settled(self) -> bool:
        """Whether it is known by now that the cluster can be looked at, or why not."""
        return not self._reason or all(table.reason != "not listed yet" for table in self.tables.values())

    @property
    def id(self) -> str:
        """The cluster's id (KEP-2149), "" as long as nobody could look."""
        return self._id

    def view_of(self, key: ServiceKey) -> ClusterView | Unknown:
        """Return all that the cluster holds of a service."""
        with self._lock:
            if self._reason:
                return Unknown(self.name, self._reason)
            return self._view(key)

    def last_of(self, key: ServiceKey) -> ClusterView | None:
        """Return what was seen last of a service in a cluster that nobody can look at; None if nobody ever could."""
        with self._lock:
            view = self._view(key) if self._was_whole else None
            return view if isinstance(view, ClusterView) else None

    def concerns(self, key: ServiceKey) -> bool:
        """Tell whether the cluster exports or imports a service, or holds anything that we made of it."""
        at = (key.namespace, key.name)
        with self._lock:
            if at in self.tables["ServiceExport"].entries or at in self.tables["ServiceImport"].entries:
                return True
            if any(getattr(one.fact, "ours", True) for one in self._slices_of.get(key, {}).values()):
                return True
            services = self.tables["Service"].entries
            ours = (services.get(at), services.get((key.namespace, derived_name(key))))
            return any(one is not None and getattr(one.fact, "ours", False) for one in ours)

    def services(self, namespaces: Collection[str] | None = None) -> set[ServiceKey]:
        """Return the services that the cluster exports, imports or holds something of: all, or those of some namespaces."""
        with self._lock:
            entries = [*self.tables["ServiceExport"].entries.values(), *self.tables["ServiceImport"].entries.values()]
            found = {one.key for one in entries if one.key}
            found |= {key for key, of in self._slices_of.items() if any(getattr(one.fact, "ours", True) for one in of.values())}
        return {key for key in found if namespaces is None or key.namespace in namespaces}

    def mcs_kind(self, kind: str, *, look: bool = False) -> Kind:
        """Return where ServiceExports or ServiceImports are; with ``look`` asks the cluster which version it serves.

        Raises NotServed where their definitions are not installed, or serve no version that is known here.
        """
        if look:
            self._take_served(look_at_served(self.connection))
        return Kind(f"{GROUP}/{self._served.version}", kind, f"{kind.lower()}s", namespaced=True)

    def _take_served(self, served: Served) -> None:
        with self._lock:
            same, self._served = served == self._served, served
        if not same:
            self._tell(News(everything=True))

    def _table(
        self, key_of: Callable[[Manifest], ServiceKey | None], parse: Callable[[Manifest], Any], *, slices: bool = False
    ) -> Table:
        return Table(self._lock, key_of, parse, told=self._slices_changed if slices else self._changed, looked=self._looked)

    def _watch(self, kind: str, find: Callable[[], Kind], *, optional: bool = False) -> Watch:
        table = self.tables[kind]
        return Watch(self.connection, find, table, known=lambda: table.version, optional=optional)

    def _turned(self) -> None:
        """React to the API server's going away or coming back.

        Streams over a dead link are closed; nobody sees anything until each watch is open again.
        """
        for kind, watch in self._watches.items():
            if self.lifeline.reason:
                self.tables[kind].reason = self.lifeline.reason
                watch.interrupt()
            else:
                watch.wake()
        self._look_again()

    def _looked(self) -> None:
        self.lifeline.heard()
        self._look_again()

    def _look_again(self) -> None:
        """Work out anew whether the cluster can be looked at; what hangs on that is told."""
        with self._lock:
            blind = next((f"{kind}: {table.reason}" for kind, table in self.tables.items() if table.reason), "")
            reason = self.lifeline.reason or blind
            turned = bool(reason) != bool(self._reason)
            self._reason = reason
            self._was_whole = self._was_whole or not reason
            if turned and not reason:
                self._id = self._declared_id()
        if turned:
            self._tell(News(everything=True))

    def _declared_id(self) -> str:
        declared = self.tables["ClusterProperty"].entries.get(("", CLUSTER_ID_PROPERTY))
        return cluster_id(declared.fact[1] if declared and isinstance(declared.fact, tuple) else None, self.name)

    def _slices_changed(self, changes: Sequence[Change]) -> None:
        """Keep the index of slices by service; called with the lock held."""
        for (_, name), before, after in changes:
            if before and before.key:
                of = self._slices_of[before.key]
                del of[name]
                if not of:
                    del self._slices_of[before.key]
            if after and after.key:
                self._slices_of.setdefault(after.key, {})[name] = after
        self._changed(changes)

    def _changed(self, changes: Sequence[Change]) -> None:
        """Tell what may have to be decided again; called with the lock held."""
        both = [one for _, before, after in changes for one in (before, after) if one]
        namespaces = {one.fact.name for one in both if isinstance(one.fact, NamespaceFact)}
        declared = self._id if self._reason else self._declared_id()
        moved, self._id = declared != self._id, declared
        if both:
            self._tell(News({one.key for one in both if one.key}, namespaces, everything=moved))

    def _view(self, key: ServiceKey) -> ClusterView | Unknown:
        at = (key.namespace, key.name)
        services, slices = self.tables["Service"].entries, self._slices_of.get(key, {})
        found = {
            "namespace": self.tables["Namespace"].entries.get(("", key.namespace)),
            "service": services.get(at),
            "export": self.tables["ServiceExport"].entries.get(at),
            "imported": self.tables["ServiceImport"].entries.get(at),
            "derived": services.get((key.namespace, derived_name(key))),
        }
        for one in (*found.values(), *slices.values()):
            if one and isinstance(one.fact, Unreadable):
                return Unknown(self.name, one.fact.reason)
        return ClusterView(
            id=self._id,
            **{name: one.fact if one else None for name, one in found.items()},
            slices=tuple(slices[name].fact for name in sorted(slices)),
            version=self._served.version,
            lacks=self._served.lacks,
        )


def _key(body: Manifest) -> ServiceKey:
    return ServiceKey(body["metadata"]["namespace"], body["metadata"]["name"])


def _no_key(body: Manifest) -> None:
    """Return no service: the object is nobody's, or everybody's."""


def _service_key(body: Manifest) -> ServiceKey:
    """Return the service that a Service is, or, for a derived one, that it stands for."""
    metadata = body["metadata"]
    ours = (metadata.get("labels") or {}).get(OURS_LABEL) == KEEPER
    stands_for = (metadata.get("annotations") or {}).get(SERVICE_LABEL) if ours else None
    return ServiceKey(metadata["namespace"], stands_for or metadata["name"])


def _slice_key(body: Manifest) -> ServiceKey | None:
    """Return the service that a slice brings endpoints to, if it does to any."""
    labels = body["metadata"].get("labels") or {}
    name = labels.get(SERVICE_LABEL) or labels.get(NATIVE_LABEL)
    return ServiceKey(body["metadata"]["namespace"], name) if name else None
