"""The mirror of a cluster, and writes to it, against a real API server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from flotilla.errors import Permanent
from flotilla.facts import Unknown
from flotilla.objects import ObjectKey
from flotilla.services.facts import ClusterView, Properties, SliceFact
from flotilla.services.names import GROUP, KEEPER, ServiceKey
from flotilla.services.render import import_status, service_manifest, slice_manifest
from flotilla.services.writes import Action, Write
from tasks.carrying import carry_out
from tasks.clusters import Connection
from tasks.multicluster import Mirror, News
from tests.tasks.fleetset import GROUP as MCS
from tests.tasks.fleetset import Member, until
from tests.tasks.test_watches import Relay, relayed, restart_server

pytestmark = pytest.mark.lab


@pytest.fixture
def member(connection: Connection) -> Iterator[Member]:
    member = Member(connection, f"mirror-{secrets.token_hex(4)}").open()
    yield member
    member.close()


@pytest.fixture
def news() -> list[News]:
    return []


@pytest.fixture
def mirror(connection: Connection, news: list[News]) -> Iterator[Mirror]:
    mirror = Mirror(connection, news.append)
    mirror.start()
    until(lambda: mirror.unknown is None)
    yield mirror
    mirror.stop()


@pytest.fixture
def key(member: Member) -> ServiceKey:
    return ServiceKey(member.namespace, "hello")


def seen(mirror: Mirror, key: ServiceKey) -> ClusterView:
    view = mirror.view_of(key)
    assert isinstance(view, ClusterView), view
    return view


def slice_write(key: ServiceKey, address: str = "10.0.0.1", name: str = "imported-1", uid: str = "") -> Write:
    fact = SliceFact(name, "", key.name, "elsewhere", KEEPER, owner="")
    manifest = dict(slice_manifest(key, fact, "v1beta1"))
    manifest["metadata"] = {field: one for field, one in manifest["metadata"].items() if field != "ownerReferences"}
    manifest["endpoints"] = [{"addresses": [address]}]
    at = ObjectKey("discovery.k8s.io", "EndpointSlice", key.namespace, name)
    return Write(Action.UPDATE if uid else Action.CREATE, at, manifest, uid)


def test_a_service_is_seen_whole(mirror, member, key):
    member.service()
    member.slice("10.0.0.1", "10.0.0.2")
    member.export(exportedLabels={"a": "1"})
    member.declare()

    until(lambda: seen(mirror, key).slices and seen(mirror, key).export and seen(mirror, key).imported)

    view = seen(mirror, key)
    assert view.namespace
    assert view.namespace.active
    assert view.service
    assert view.service.properties.ports[0].port == 80
    assert view.export
    assert view.export.labels == {"a": "1"}
    assert view.imported
    assert not view.imported.automatic
    assert [end.addresses[0] for end in view.slices[0].endpoints] == ["10.0.0.1", "10.0.0.2"]
    assert (mirror.id, view.version, view.lacks) == ("remote", "v1beta1", frozenset())


def test_only_services_that_are_exported_or_imported_concern_a_cluster(mirror, member, key):
    member.service()
    until(lambda: seen(mirror, key).service)
    assert not mirror.concerns(key)

    member.export()

    until(lambda: mirror.concerns(key))
    assert key in mirror.services({key.namespace})
    member.unexport()
    until(lambda: not mirror.concerns(key))


def test_each_change_is_told_by_its_service(mirror, member, key, news):
    member.service()
    member.export()
    until(lambda: seen(mirror, key).export)
    news.clear()

    member.slice("10.0.0.1")

    until(lambda: any(key in one.keys for one in news))


def test_a_namespace_that_goes_is_told_and_takes_nothing(mirror, member, key, news):
    until(lambda: seen(mirror, key).takes_objects)

    member.close()

    until(lambda: any(key.namespace in one.namespaces for one in news))
    until(lambda: not seen(mirror, key).takes_objects)


def test_nothing_is_known_before_everything_was_listed(connection, key):
    mirror = Mirror(connection, lambda _: None)

    view = mirror.view_of(key)

    assert isinstance(view, Unknown)
    assert not mirror.is_settled
    assert mirror.last_of(key) is None


def test_a_cluster_that_is_away_is_unknown_and_what_was_seen_last_stays(connection, member, key):
    relay = Relay(connection.api.configuration.host)
    mirror = Mirror(relayed(connection, relay), lambda _: None)
    mirror.start()
    member.service()
    member.export()
    until(lambda: mirror.unknown is None and seen(mirror, key).export)

    relay.silent = True
    noticed = until(lambda: mirror.unknown is not None, 10)
    view = mirror.view_of(key)
    last = mirror.last_of(key)
    member.unexport()
    relay.silent = False
    until(lambda: mirror.unknown is None)
    until(lambda: seen(mirror, key).export is None)
    mirror.stop()

    assert noticed < 6
    assert isinstance(view, Unknown)
    assert "does not answer" in view.reason
    assert last is not None
    assert last.export is not None


def test_what_was_deleted_while_history_was_lost_is_gone(connection, member, key, monkeypatch):
    relay = Relay(connection.api.configuration.host)
    mirror = Mirror(relayed(connection, relay), lambda _: None)
    mirror.start()
    member.service()
    member.export()
    until(lambda: mirror.unknown is None and seen(mirror, key).export)
    relay.close()
    member.unexport()
    member.call("DELETE", member.inside("/api/v1", "services", "hello"))
    until(lambda: mirror.unknown is not None, 10)
    restart_server(connection)
    for watch in mirror._watches.values():
        watch._version = 1  # as after an outage longer than the server keeps history

    relay.open()

    until(lambda: mirror.unknown is None)
    view = seen(mirror, key)
    mirror.stop()
    assert (view.export, view.service) == (None, None)


def test_a_write_is_known_before_its_event(mirror, key):
    assert carry_out(mirror, slice_write(key)) == ""

    assert [piece.name for piece in seen(mirror, key).slices] == ["imported-1"]


def test_a_write_to_an_object_that_was_made_anew_is_not_made(mirror, key):
    carry_out(mirror, slice_write(key))
    uid = seen(mirror, key).slices[0].uid

    assert carry_out(mirror, slice_write(key, "10.0.0.2", uid=uid)) == ""
    outdated = carry_out(mirror, slice_write(key, "10.0.0.3", uid="0000"))

    assert "uid" in outdated.lower()
    assert seen(mirror, key).slices[0].endpoints[0].addresses == ("10.0.0.2",)


def test_an_update_of_what_is_gone_does_not_create_it(mirror, member, key):
    carry_out(mirror, slice_write(key))
    uid = seen(mirror, key).slices[0].uid
    member.call("DELETE", member.inside("/apis/discovery.k8s.io/v1", "endpointslices", "imported-1"))

    assert carry_out(mirror, slice_write(key, "10.0.0.2", uid=uid)) != ""
    assert member.slices() == []


def test_a_delete_is_made_of_that_object_only_and_known_at_once(mirror, member, key):
    carry_out(mirror, slice_write(key))
    fact = seen(mirror, key).slices[0]
    at = ObjectKey("discovery.k8s.io", "EndpointSlice", key.namespace, fact.name)

    assert carry_out(mirror, Write(Action.DELETE, at, uid="0000")) != ""
    assert len(member.slices()) == 1
    assert carry_out(mirror, Write(Action.DELETE, at, uid=fact.uid)) == ""
    assert seen(mirror, key).slices == ()
    assert carry_out(mirror, Write(Action.DELETE, at, uid=fact.uid)) == ""
    assert member.slices() == []


def test_a_status_of_what_is_gone_is_outdated(mirror, key):
    at = ObjectKey(GROUP, "ServiceImport", key.namespace, key.name)
    write = Write(Action.STATUS, at, import_status(key, ["remote"], [], "v1beta1"), "0000")

    assert "gone" in carry_out(mirror, write)


def test_a_namespace_on_its_way_out_or_gone_is_outdated_and_no_error(mirror, member, key):
    finalizer = {"metadata": {"finalizers": ["flotilla.dev/test"], "name": "stays"}, "apiVersion": "v1", "kind": "ConfigMap"}
    member.call("POST", member.inside("/api/v1", "configmaps"), finalizer)
    member.close()
    until(lambda: not seen(mirror, key).takes_objects)

    terminating = carry_out(mirror, slice_write(key))
    gone = carry_out(mirror, slice_write(replace(key, namespace=f"{key.namespace}-none")))

    path = member.inside("/api/v1", "configmaps", "stays")
    member.call("PATCH", path, {"metadata": {"finalizers": None}}, content_type="application/merge-patch+json")
    assert "being deleted" in terminating
    assert "gone" in gone


def test_a_write_that_is_refused_for_good_is_an_error_with_the_servers_words(mirror, key):
    from flotilla.services.facts import ServiceFact

    fact = ServiceFact("not a name", Properties(), owner="0000")
    write = Write(Action.CREATE, ObjectKey("", "Service", key.namespace, "x"), service_manifest(key, fact, "v1beta1"))

    with pytest.raises(Permanent, match="remote: could not create Service"):
        carry_out(mirror, write)


def test_labels_of_an_import_are_told_apart_by_who_wrote_them(mirror, member, key):
    member.declare(annotations={"somebody": "else"})

    until(lambda: seen(mirror, key).imported)

    view = seen(mirror, key)
    assert view.imported
    assert view.imported.properties.annotations == {}


def test_an_object_that_waits_for_its_finalizer_stays_known_as_deleting(mirror, member, key):
    member.declare()
    path = member.inside(MCS, "serviceimports", "hello")
    patch = {"metadata": {"finalizers": ["flotilla.dev/test"]}}
    member.call("PATCH", path, patch, content_type="application/merge-patch+json")
    until(lambda: seen(mirror, key).imported)
    time.sleep(0.3)
    uid = seen(mirror, key).imported.uid

    outcome = carry_out(mirror, Write(Action.DELETE, ObjectKey(GROUP, "ServiceImport", key.namespace, key.name), uid=uid))
    imported = seen(mirror, key).imported

    member.call("PATCH", path, {"metadata": {"finalizers": None}}, content_type="application/merge-patch+json")
    assert outcome == ""
    assert imported
    assert imported.deleting
    until(lambda: seen(mirror, key).imported is None)
