"""The report of a day from answers: what is known, what differs, what is unknown; its text and its picture."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from flotilla.daily.applications import Application, Presence, Share
from flotilla.daily.asked import Ask, Period, Replies, period_of, questions
from flotilla.daily.picture import picture
from flotilla.daily.report import Ground, Report, report
from flotilla.daily.seeing import Sight, sight
from flotilla.daily.text import markdown
from flotilla.dashboards.answers import Answer, Reply, Unanswered, series
from flotilla.dashboards.checks import Ground as Checked
from flotilla.dashboards.findings import Place
from flotilla.dashboards.lint import lint_expression
from flotilla.markdown import table

DAY = Period(0.0, 86_400.0, 86_400.0)
GROUND = Ground(("production", "same-city", "remote"), "production", 30.0, 10.0)
FRESH = {"production": 86_390.0, "same-city": 86_390.0, "remote": 86_390.0}


def answer(numbers: dict[str, float], **labels: str) -> Answer:
    return Answer(tuple(series({"cluster": name, **labels}, [(86_400.0, number)]) for name, number in numbers.items()))


def made(**found: Reply) -> Report:
    return report(GROUND, DAY, Replies({Ask[name]: reply for name, reply in found.items()}))


def share(image: str = "", before: str = "", **given: int) -> Share:
    return Share(
        Presence.THERE,
        given.get("asked", 1),
        given.get("available", 1),
        given.get("lowest"),
        {"c": frozenset({image})} if image else {},
        {"c": frozenset({before})} if before else {},
    )


@pytest.mark.parametrize("ask", list(Ask))
def test_the_questions_are_clean_and_each_asks_for_one_time_or_for_the_period(ask):
    question = questions(DAY)[ask]

    assert () == lint_expression(question.expr, Place("report", ask), Checked(), drawn=bool(question.step))
    assert question.end in (DAY.begin, DAY.end)
    assert bool(question.step) == ask.value.endswith("over time")


def test_a_period_ends_at_a_whole_minute_and_may_name_its_zone():
    assert Period(1_795_327_200.0 - 86_400, 1_795_327_200.0, 1_800_000_000.0) == period_of(
        "2026-11-22T14:00:30+08:00", 1, 1_800_000_000.0
    )
    assert Period(60.0, 120.0 + 14 * 60, 1000.0) == period_of("", 0.01042, 1000.0)


def test_what_is_there_is_told_by_cluster_and_what_is_missing_is_no_zero():
    one = {"namespace": "shop", "deployment": "podinfo"}
    found = made(
        WATERMARKS=answer(FRESH | {"remote": 79_200.0}),
        DESIRED=answer(FRESH | {"production": 2.0, "same-city": 1.0, "remote": 2.0}, **one),
        SEEN=answer({"production": 2.0, "same-city": 1.0}, **one),
        AVAILABLE=answer({"production": 1.0}, **one),
    )
    (app,) = found.deployed[1]

    assert {"production": "1/2", "same-city": "unknown/1", "remote": "unknown"} == {
        name: one.cell() for name, one in app.shares.items()
    }
    assert app.lacks
    assert Sight(("production", "same-city"), {"remote": "silent, 2 h behind"}) == found.deployed[0]


@pytest.mark.parametrize(
    ("shares", "skewed", "changed", "images"),
    [
        ({"a": share("r/x:1"), "b": share("q/r/x:1")}, True, False, "**skew**: a x:1; b x:1"),
        ({"a": share("r/x:1"), "b": share("r/x:1")}, False, False, "x:1"),
        ({"a": share("r/x:2", "r/x:1"), "b": share("r/x:2", "r/x:2")}, False, True, "x:2"),
        ({"a": share(), "b": Share(Presence.UNKNOWN)}, False, False, "unknown"),
        ({"a": Share(Presence.GONE), "b": Share(Presence.UNKNOWN)}, False, True, "-"),
    ],
)
def test_images_are_compared_between_clusters_and_with_the_day_before(shares, skewed, changed, images):
    app = Application("shop", "x", shares)

    assert (skewed, changed, images) == (app.skewed, app.changed, app.row()["images"])


def test_a_dip_within_the_period_is_told_where_all_is_well_again():
    assert "2/2 (was 0)" == share(asked=2, available=2, lowest=0).cell()
    assert "2/2" == share(asked=2, available=2, lowest=2).cell()


def test_nothing_complete_is_told_as_well_as_everything():
    found = made(WATERMARKS=answer(FRESH), COMPLETE=answer({"production": 0.0, "same-city": 0.999999, "remote": 1.0}))

    assert ["production: 0.00 % of", "same-city: 99.99 % of"] == [
        one.partition(" its samples")[0] for one in found.findings() if "newest window" in one
    ]


def test_of_a_store_that_is_away_everything_is_unknown_with_the_reason():
    down = made(**{ask.name: Unanswered("the store is down") for ask in Ask})
    text = markdown(down)

    assert "the store is down" == down.silence
    assert 5 == text.count("Covers no cluster. Unknown: production (the store is down)")
    assert text.count("\nunknown\n") == 4
    assert "nothing moved" not in text
    assert "unknown" in picture(down)


def test_without_a_collector_numbers_stand_and_how_recent_they_are_is_said_to_be_unknown():
    found = made(WATERMARKS=Answer(), DESIRED=answer({"production": 1.0}), SEEN=answer({"production": 1.0}))

    assert ("production",) == found.deployed[0].covers
    assert "how recent its samples are is not known" in markdown(found)


def test_a_picture_is_well_formed_whatever_things_are_called():
    lines = Answer((series({"cluster": "<&\">'"}, [(0.0, 1.0), (900.0, 2.0), (9000.0, 1.0)]),))
    drawn = picture(report(Ground(("<&\">'",), "<&\">'", 30.0, 10.0), DAY, Replies({Ask.CPU_LINES: lines})))

    assert "http://www.w3.org/2000/svg" in ElementTree.fromstring(drawn).tag


def test_why_a_cluster_is_unknown_is_told():
    seen = sight({"a": "", "b": "away", "c": ""}, {"a", "b"}, "x")

    assert Sight(("a",), {"b": "away", "c": "the store has nothing of x"}) == seen


def test_a_table_keeps_its_shape():
    assert "| a |\n| --- |\n| x\\|y<br>z |" == table([{"a": "x|y\nz"}])
    assert "nothing" == table([])
