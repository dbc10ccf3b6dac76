"""Parts of a scenario that go on at the same time and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def all_of(*works: Coroutine[Any, Any, Result]) -> list[Result]:
    """Their results, in order. If one fails the others are cancelled and over before its error is raised, as it is."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
