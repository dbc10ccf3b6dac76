"""Answers to requests with an idempotency key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.session import Session
from interlock.ports.access import AnswerPlace, StoredAnswer

_SQL = load("answers")


class AnswerQueries(ABC):
    """The part of the access store that keeps answers."""

    @abstractmethod
    def _session(self) -> AbstractAsyncContextManager[Session]:
        """A transaction as the role of access, which ends with the block."""

    async def claim_answer(self, place: AnswerPlace, digest: bytes, kept: timedelta) -> bool:
        """Whether nobody has used this key: from now on the caller has."""
        async with self._session() as session:
            return await session.value(_SQL["claim"], *place, digest, kept) is not None

    async def find_answer(self, place: AnswerPlace, patience: timedelta) -> StoredAnswer | None:
        """What there is under a key."""
        async with self._session() as session:
            row = await session.row(_SQL["find"], *place, patience)
        return None if row is None else StoredAnswer(**row)

    async def keep_answer(self, place: AnswerPlace, digest: bytes, status: int, body: bytes, kept: timedelta) -> None:
        """Keep an answer, unless there is one."""
        async with self._session() as session:
            await session.run(_SQL["keep"], *place, digest, status, body, kept)

    async def release_answer(self, place: AnswerPlace) -> None:
        """Nothing was done: the key is as if it had not been used."""
        async with self._session() as session:
            await session.run(_SQL["release"], *place)
