"""A store is asked in Prometheus's words; what goes wrong is told in ours."""

from __future__ import annotations

import socket

import pytest

from flotilla.dashboards.answers import Answer, Question, Unanswered, series
from flotilla.errors import InvalidInput, Transient
from tasks.asking import Asker
from tasks.promql import engine_at
from tests.tasks.stub_store import one, store, success

NOW = Question("up", 100.0)


def test_an_instant_question_and_its_answer():
    seen = []

    def answer(path, form):
        seen.append((path, form["query"], form["time"]))
        return success([one("3", cluster="a", __name__="up"), one("NaN", cluster="b"), one("+Inf", cluster="c")])

    with store(answer) as url:
        reply = engine_at(url).ask(NOW)

    assert [("/api/v1/query", "up", "100.000")] == seen
    assert (
        Answer((series({"cluster": "a"}, [(100.0, 3.0)]), series({"cluster": "b"}, []), series({"cluster": "c"}, []))) == reply
    )


def test_a_question_over_a_range_and_its_answer():
    with store(
        lambda path, form: success(
            [{"metric": {"a": path}, "values": [[10, form["start"]], [20, form["end"]], [30, form["step"]]]}], "matrix"
        )
    ) as url:
        reply = engine_at(url + "/").ask(Question("up", end=30, start=10, step=5))

    assert Answer((series({"a": "/api/v1/query_range"}, [(10.0, 10.0), (20.0, 30.0), (30.0, 5.0)]),)) == reply


def test_a_number_is_one_series_without_labels():
    with store(lambda path, form: success([100, "7"], "scalar")) as url:
        assert Answer((series({}, [(100.0, 7.0)]),)) == engine_at(url).ask(NOW)


def test_what_a_store_warns_of_is_passed_on():
    with store(lambda path, form: success([], warnings=["a node is slow"], isPartial=True)) as url:
        reply = engine_at(url).ask(NOW)

    assert isinstance(reply, Answer)
    assert ("parts of the store did not answer", "a node is slow") == reply.warnings


ODD = "answered JSON that is not Prometheus's"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            (422, "application/json", b'{"status":"error","errorType":"422","error":"too deep"}'),
            "up: too deep (HTTP 422); check the query",
        ),
        (
            (400, "application/json", b'{"status":"error","errorType":"bad_data","error":"no"}'),
            "up: no (HTTP 400); check the query",
        ),
        (
            (422, "application/json", b'{"status":"error","error":"too many points, must not exceed 5"}'),
            "must not exceed 5 (HTTP 422)",
        ),
        ((503, "application/json", b"{}"), "query up: {} (HTTP 503)"),
        ((404, "text/html", b""), "query up: no words (HTTP 404); check the service and the path"),
        ((502, "text/html", b"<html>\n<h1>Bad gateway</h1>"), "query up: <html> <h1>Bad gateway</h1> (HTTP 502)"),
        ((200, "text/html", b"<html>log in</html>"), "expected Prometheus' JSON for query up, got '<html>log in</html>'"),
        ((200, "application/json", b'{"status":"success","data":{"resultType":"vector"}}'), ODD),
        ((200, "application/json", b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}'), ODD),
        (
            (
                200,
                "application/json",
                b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}',
            ),
            ODD,
        ),
        ((200, "application/json", b"[1]"), "expected Prometheus' JSON for query up, got '[1]'"),
        ((200, "application/json", b""), "expected Prometheus' JSON for query up, got ''"),
    ],
)
def test_what_a_store_answers_wrongly_is_told_in_words(said, told):
    with store(lambda path, form: said) as url:
        reply = engine_at(url).ask(NOW)

    assert isinstance(reply, Unanswered)
    assert reply.reason.startswith("store: ")
    assert told in reply.reason


def test_a_store_that_is_not_there_or_too_slow_is_told_in_words():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        slow = engine_at(f"http://user:secret@127.0.0.1:{port}/x", patience=0.2).ask(NOW)
    gone = engine_at(f"http://127.0.0.1:{port}").ask(NOW)

    assert Unanswered(f"store: http://127.0.0.1:{port}/x does not answer: timed out") == slow
    assert Unanswered(f"store: http://127.0.0.1:{port} does not answer: Connection refused") == gone


def test_a_token_comes_from_a_variable_and_its_absence_is_told(monkeypatch):
    heard: list[dict[str, str]] = []
    with store(lambda path, form: success([]), heard) as url:
        monkeypatch.delenv("STORE_TOKEN", raising=False)
        with pytest.raises(InvalidInput, match="STORE_TOKEN"):
            engine_at(url, "STORE_TOKEN")
        monkeypatch.setenv("STORE_TOKEN", "s3cret")
        engine_at(url, "STORE_TOKEN").ask(NOW)

    assert ["Bearer s3cret"] == [one["Authorization"] for one in heard]


def test_what_is_asked_for_its_result_alone_raises_what_went_wrong():
    def answer(path, form):
        return success([one("3", cluster="a")]) if form["query"] == "up" else (503, "text/plain", b"busy")

    with store(answer) as url:
        assert [one("3", cluster="a")] == engine_at(url).query("up", "100")
        with pytest.raises(Transient, match="store: query_range down: busy \\(HTTP 503\\)"):
            engine_at(url).query_range("down", 0, 10, 5)


def test_names_values_and_numbers_of_series():
    def answer(path, form):
        if path == "/api/v1/query":
            return success([one("12", metric="up"), one("3", metric="down")])
        return (
            success(None, "x")
            if path == "/api/v1/labels" and form["match[]"] == "odd"
            else (200, "application/json", _names(path))
        )

    with store(answer) as url:
        assert ["a", "b"] == engine_at(url).values("cluster", "up", 0, 100)
        assert frozenset({"cluster", "pod"}) == engine_at(url).labels("up")
        assert {"up": 12, "down": 3} == engine_at(url).cardinality(["up", "down", "gone"], 100)
        with pytest.raises(Transient, match="not Prometheus's|no JSON"):
            engine_at(url).labels("odd")


def _names(path: str) -> bytes:
    names = '["a","b"]' if path.endswith("/values") else '["__name__","cluster","pod"]'
    return f'{{"status":"success","data":{names}}}'.encode()


def test_each_question_is_asked_once_however_many_pictures_want_it():
    asked = []

    def answer(question: Question):
        asked.append(question)
        return Answer()

    asker = Asker(answer)
    other = Question("down", 100.0)
    try:
        first = asker.replies([NOW, other, NOW])
        second = asker.replies([other, Question("up", 130.0)])
    finally:
        asker.close()

    assert [NOW, other] == list(first)
    assert [other, Question("up", 130.0)] == list(second)
    assert {NOW, other, Question("up", 130.0)} == set(asked)
    assert 3 == len(asked)
