"""multilingual-e5-small in four bits: 384 numbers for a text, in a thread of its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from interlock.backends.models.local.packages import EMBEDDER

MODEL = "multilingual-e5-small"
DIMENSIONS = 384
_AT_ONCE = 32
"""Texts between two looks at whether the caller is still there."""


class Embedder:
    """Loaded when it is asked first. ``threads`` compute one text; more than one is slower on busy cores."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._worker = ThreadPoolExecutor(1, "local-embed")
        self._model: Any = None

    def close(self) -> None:
        """Begin nothing more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def embed(self, texts: list[str], *, is_query: bool) -> tuple[list[list[float]], int]:
        """Vectors of length 1 in the order of the texts, and how many tokens those have."""
        loop = asyncio.get_running_loop()
        vectors: list[list[float]] = []
        tokens = 0
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            found, count = await loop.run_in_executor(self._worker, self._run, part, is_query)
            vectors += found
            tokens += count
        return vectors, tokens

    def _run(self, texts: list[str], is_query: bool) -> tuple[list[list[float]], int]:
        if self._model is None:
            self._model = import_module(EMBEDDER).E5(num_threads=self._threads)
        found = self._model.encode(texts, is_query)
        return found.tolist(), sum(self._model.token_count(text, is_query) for text in texts)
