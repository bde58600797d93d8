"""The page's own server: files, answers, and words where there is none."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from threading import Thread

import pytest

from flotilla.errors import InvalidInput, Permanent, Problem
from tasks.dashboard_files import write_texts
from tasks.pages import Site, files_of_page, open_server


def refuse(asked):
    raise InvalidInput([Problem("request", "panel", "x", "a number")])


def fail(asked):
    raise Permanent("the store is gone")


def break_down(asked):
    raise RuntimeError("a defect")


ROUTES = {"/api/echo": lambda asked: {"asked": asked}, "/api/bad": refuse, "/api/gone": fail, "/api/defect": break_down}


@pytest.fixture
def port() -> Iterator[int]:
    server = open_server(Site(ROUTES, files_of_page(), frozenset({"boards.example"})), "127.0.0.1", 0)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def get(port: int, path: str, host: str = "") -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("path", "media"),
    [("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css"), ("/icon.svg", "image/svg+xml")],
)
def test_the_pages_files_are_served_and_may_load_nothing_from_elsewhere(port, path, media):
    status, headers, body = get(port, path)

    assert (200, f"{media}; charset=utf-8") == (status, headers["Content-Type"])
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert body


def test_the_pages_files_name_no_address_but_their_own():
    for media, content in files_of_page().values():
        addresses = [one for one in content.decode().split('"') if "://" in one and "www.w3.org" not in one]
        assert [] == addresses, media


def test_a_route_is_asked_with_its_parameters(port):
    status, _, body = get(port, "/api/echo?a=1&a=2&b=&var-x=%E2%82%AC")

    assert 200 == status
    assert {"asked": {"a": ["1", "2"], "b": [""], "var-x": ["€"]}} == json.loads(body)


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/api/bad", 400, "request: panel: 'x'; allowed: a number"),
        ("/api/gone", 502, "the store is gone"),
        ("/api/defect", 500, "a defect of the page itself; its log says more"),
        ("/api/nothing", 404, "there is nothing at /api/nothing"),
        ("/../pages.py", 404, "there is nothing at /../pages.py"),
    ],
)
def test_what_goes_wrong_is_told_in_words(port, path, status, told):
    found, _, body = get(port, path)

    assert (status, {"error": told}) == (found, json.loads(body))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8429", 200),
        ("[::1]:8429", 200),
        ("127.0.0.1", 200),
        ("boards.example:8429", 200),
        ("evil.example:8429", 421),
        ("evil.example", 421),
    ],
)
def test_a_foreign_page_cannot_read_through_a_name_of_its_own(port, host, status):
    assert status == get(port, "/api/echo", host)[0]


def test_a_port_that_is_taken_is_told(port):
    with pytest.raises(
        Permanent, match=f"cannot listen on 127.0.0.1:{port}: Address already in use; another --port may be free"
    ):
        open_server(Site({}, {}), "127.0.0.1", port)


def test_texts_are_written_into_a_folder_that_is_made(tmp_path):
    written = write_texts(str(tmp_path / "a" / "b"), {"x.json": "{}"})

    assert (str(tmp_path / "a" / "b" / "x.json"),) == written
    with pytest.raises(Permanent, match=r"x\.json.* cannot be written"):
        write_texts(written[0], {"y": ""})
