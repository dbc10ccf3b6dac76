"""Many equal questions at once cost one transaction: while it is under way, the next ones collect."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Generic, TypeVar
from uuid import UUID

Answer = TypeVar("Answer")
Answers = Mapping[UUID, Answer]
Waiting = dict[UUID, list["asyncio.Future[Answer | None]"]]

MAX_BATCH = 500
"""Ids asked for in one transaction."""


class Batch(Generic[Answer]):
    """Collects questions about ids by claims. A question is only ever answered by a transaction that began after it.

    ``fetch`` answers several ids under one text of claims; what it does not answer does not exist for the caller.
    """

    def __init__(self, fetch: Callable[[str, Sequence[UUID]], Awaitable[Answers[Answer]]]) -> None:
        self._fetch = fetch
        self._collecting: dict[str, Waiting[Answer]] = {}
        self._rounds: set[asyncio.Task[Answers[Answer]]] = set()

    async def ask(self, claims: str, wanted: UUID) -> Answer | None:
        """The answer for ``wanted`` or None. Raises what ``fetch`` raised. A cancelled caller disturbs no other."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer | None] = loop.create_future()
        if claims not in self._collecting:
            self._collecting[claims] = {}
            loop.call_soon(self._start_round, claims)  # what is asked in this turn of the loop goes with it
        self._collecting[claims].setdefault(wanted, []).append(future)
        return await future

    async def close(self) -> None:
        """Give up all questions that are still open: their callers are cancelled."""
        for waiting in self._collecting.values():
            _settle(waiting, lambda _, future: future.cancel())
        self._collecting.clear()
        rounds = list(self._rounds)
        for round_ in rounds:
            round_.cancel()
        await asyncio.gather(*rounds, return_exceptions=True)

    def _start_round(self, claims: str) -> None:
        collected = self._collecting.get(claims)
        if not collected:
            self._collecting.pop(claims, None)
            return
        waiting = {wanted: collected.pop(wanted) for wanted in list(islice(collected, MAX_BATCH))}
        round_ = asyncio.ensure_future(self._fetch(claims, list(waiting)))
        self._rounds.add(round_)
        round_.add_done_callback(partial(self._end_round, claims, waiting))

    def _end_round(self, claims: str, waiting: Waiting[Answer], round_: asyncio.Task[Answers[Answer]]) -> None:
        self._rounds.discard(round_)
        if round_.cancelled():
            _settle(waiting, lambda _, future: future.cancel())
        elif error := round_.exception():
            _settle(waiting, lambda _, future: future.set_exception(error))
        else:
            answers = round_.result()
            _settle(waiting, lambda wanted, future: future.set_result(answers.get(wanted)))
        self._start_round(claims)


def _settle(waiting: Waiting[Answer], settle: Callable[[UUID, asyncio.Future[Answer | None]], object]) -> None:
    for wanted, futures in waiting.items():
        for future in futures:
            if not future.done():  # its caller was cancelled
                settle(wanted, future)


class Recent(Generic[Answer]):
    """The answers used last, at most ``max_weight`` in sum. Weights are what the caller says."""

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._weight = 0
        self._kept: OrderedDict[tuple[str, str, UUID], tuple[Answer, int]] = OrderedDict()

    def get(self, key: tuple[str, str, UUID]) -> Answer | None:
        """The answer kept under ``key``, or None."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def put(self, key: tuple[str, str, UUID], answer: Answer, weight: int) -> None:
        """Keep an answer; those used longest ago give way, and one that is too heavy alone is not kept."""
        self._weight += weight - self._kept.pop(key, (None, 0))[1]
        self._kept[key] = (answer, weight)
        while self._weight > self._max_weight:
            self._weight -= self._kept.popitem(last=False)[1][1]
