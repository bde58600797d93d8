"""A store is asked in Prometheus's words; what goes wrong is told in ours."""

from __future__ import annotations

import socket

import pytest

from flotilla.dashboards.answers import Answer, Question, Unanswered, series
from flotilla.errors import Permanent
from tasks import promql
from tasks.asking import Asker
from tasks.promql import Store, ask, cardinality, label_names, label_values
from tests.tasks.stub_store import one, store, success

NOW = Question("up", 100.0)


def test_an_instant_question_and_its_answer():
    seen = []

    def answer(path, form):
        seen.append((path, form["query"], form["time"]))
        return success([one("3", cluster="a", __name__="up"), one("NaN", cluster="b"), one("+Inf", cluster="c")])

    with store(answer) as url:
        reply = ask(Store(url), NOW)

    assert [("/api/v1/query", "up", "100.0")] == seen
    assert (
        Answer((series({"cluster": "a"}, [(100.0, 3.0)]), series({"cluster": "b"}, []), series({"cluster": "c"}, []))) == reply
    )


def test_a_question_over_a_range_and_its_answer():
    with store(
        lambda path, form: success(
            [{"metric": {"a": path}, "values": [[10, form["start"]], [20, form["end"]], [30, form["step"]]]}], "matrix"
        )
    ) as url:
        reply = ask(Store(url + "/"), Question("up", end=30, start=10, step=5))

    assert Answer((series({"a": "/api/v1/query_range"}, [(10.0, 10.0), (20.0, 30.0), (30.0, 5.0)]),)) == reply


def test_a_number_is_one_series_without_labels():
    with store(lambda path, form: success([100, "7"], "scalar")) as url:
        assert Answer((series({}, [(100.0, 7.0)]),)) == ask(Store(url), NOW)


def test_what_a_store_warns_of_is_passed_on():
    with store(lambda path, form: success([], warnings=["a node is slow"], isPartial=True)) as url:
        reply = ask(Store(url), NOW)

    assert isinstance(reply, Answer)
    assert ("parts of the store did not answer", "a node is slow") == reply.warnings


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ((422, "application/json", b'{"status":"error","error":"too many series"}'), "refused with HTTP 422: too many series"),
        ((503, "application/json", b"{}"), "refused with HTTP 503: without a reason"),
        ((502, "text/html", b"<html>\n<h1>Bad gateway</h1>"), "answered HTTP 502 and no JSON: '<html> <h1>Bad gateway</h1>'"),
        ((200, "text/html", b"<html>log in</html>"), "answered HTTP 200 and no JSON"),
        ((200, "application/json", b'{"status":"success","data":{"resultType":"vector"}}'), "JSON that is not Prometheus's"),
        (
            (200, "application/json", b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}'),
            "not Prometheus's",
        ),
        (
            (
                200,
                "application/json",
                b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}',
            ),
            "not",
        ),
        ((200, "application/json", b"[1]"), "refused with HTTP 200"),
        ((200, "application/json", b""), "no JSON: ''"),
    ],
)
def test_what_a_store_answers_wrongly_is_told_in_words(said, told):
    with store(lambda path, form: said) as url:
        reply = ask(Store(url), NOW)

    assert isinstance(reply, Unanswered)
    assert told in reply.reason
    assert url in reply.reason


def test_a_store_that_is_not_there_or_too_slow_is_told_in_words(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(promql, "PATIENCE", 0.2)
        promql._client.cache_clear()
        slow = ask(Store(f"http://user:secret@127.0.0.1:{port}/x"), NOW)
    gone = ask(Store(f"http://127.0.0.1:{port}"), NOW)
    promql._client.cache_clear()

    assert Unanswered(f"the store http://127.0.0.1:{port}/x did not answer within 0 s") == slow
    assert Unanswered(f"the store http://127.0.0.1:{port} cannot be reached: Connection refused") == gone


def test_a_token_comes_from_a_variable_and_its_absence_is_told(monkeypatch):
    heard: list[dict[str, str]] = []
    with store(lambda path, form: success([]), heard) as url:
        monkeypatch.delenv("STORE_TOKEN", raising=False)
        missing = ask(Store(url, "STORE_TOKEN"), NOW)
        monkeypatch.setenv("STORE_TOKEN", "s3cret")
        ask(Store(url, "STORE_TOKEN"), NOW)

    assert isinstance(missing, Unanswered)
    assert "the environment variable STORE_TOKEN holds no token" in missing.reason
    assert ["Bearer s3cret"] == [one["Authorization"] for one in heard]


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
        assert ("a", "b") == label_values(Store(url), "cluster", "up", 0, 100)
        assert frozenset({"cluster", "pod"}) == label_names(Store(url), "up")
        assert {"up": 12, "down": 3} == cardinality(Store(url), ["up", "down", "gone"], 100)
        with pytest.raises(Permanent, match="not Prometheus's|no JSON"):
            label_names(Store(url), "odd")


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
