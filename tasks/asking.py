"""Ask a store many questions at once, each of them once, however many pictures want its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from flotilla.dashboards.answers import Question, Reply

AT_ONCE = 4  # questions that a store works on for us at a time
KEPT = 2000  # answers that are remembered


class Asker:
    """Asks through ``ask``; remembers the newest answers, as a question names the time that it is about."""

    def __init__(self, ask: Callable[[Question], Reply]) -> None:
        self._ask = ask
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="question")
        self._asked: dict[Question, Future[Reply]] = {}
        self._lock = Lock()

    def replies(self, questions: Iterable[Question]) -> dict[Question, Reply]:
        """Return the reply to each question, in the order of the questions."""
        futures = {question: self._future(question) for question in dict.fromkeys(questions)}
        return {question: future.result() for question, future in futures.items()}

    def close(self) -> None:
        """End the threads; questions that nobody waits for are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _future(self, question: Question) -> Future[Reply]:
        with self._lock:
            if question not in self._asked:
                self._asked[question] = self._pool.submit(self._ask, question)
                for oldest in list(self._asked)[: max(0, len(self._asked) - KEPT)]:
                    del self._asked[oldest]
            return self._asked[question]
