"""What is told to Prefect beside the work: in order, and never in the work's way."""

from __future__ import annotations

import threading

from flows.journey import WAITING, aside


def test_who_tells_goes_on_while_nobody_listens_and_the_newest_are_told_in_order() -> None:
    heard, there, done = list[int](), threading.Event(), threading.Event()

    def slow(number: int) -> None:
        there.wait()
        heard.append(number)
        if number == 3 * WAITING - 1:
            done.set()

    tell = aside(slow)
    tell(-1)
    for number in range(3 * WAITING):
        tell(number)
    there.set()  # whoever tells has gone on until here

    assert done.wait(30)
    assert heard == sorted(heard)
    assert heard[-WAITING:] == list(range(2 * WAITING, 3 * WAITING))
    assert len(heard) <= WAITING + 2


def test_what_fails_to_be_told_ends_nothing() -> None:
    heard, done = list[str](), threading.Event()

    def fails_once(text: str) -> None:
        heard.append(text)
        if text == "first":
            raise OSError("Prefect is away")
        done.set()

    tell = aside(fails_once)
    tell("first")
    tell("second")

    assert done.wait(30)
    assert ["first", "second"] == heard
