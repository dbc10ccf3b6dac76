"""SmolLM2, 135 million parameters, on llama.cpp: one answer at a time, in a thread of its own."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from interlock.backends.models.local.packages import RUNTIME, chat_weights

MODEL = "smollm2"
CONTEXT = 2_048
"""Tokens of prompt and answer together."""

_TAKEN = frozenset(
    ("messages", "temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "stop", "seed")
)
_TAKEN |= {"response_format", "presence_penalty", "frequency_penalty", "repeat_penalty"}


class ChatModel:
    """Loaded when it is asked first, which takes a second and 200 MB. ``threads`` compute one answer."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._worker = ThreadPoolExecutor(1, "local-chat")
        self._server: Any = None

    def close(self) -> None:
        """Begin no more answers; one that is being made ends by itself."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def ask(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Chunks in OpenAI's shape, the last one with the usage; or one with ``error`` if it will not answer.

        Leaving the iteration ends the work at the next token. Raises ValueError for a body it cannot read.
        """
        loop, chunks = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any] | None]()
        is_left = threading.Event()

        def take(chunk: dict[str, Any]) -> bool:
            if not is_left.is_set():
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            return is_left.is_set()

        working = loop.run_in_executor(self._worker, self._run, _allowed(body), take, is_left)
        working.add_done_callback(lambda _: chunks.put_nowait(None))
        try:
            while (chunk := await chunks.get()) is not None:
                yield chunk
            await working
        finally:
            is_left.set()
            working.cancel()

    def _run(self, body: dict[str, Any], take: Callable[[dict[str, Any]], bool], is_left: threading.Event) -> None:
        if is_left.is_set():
            return
        if self._server is None:
            self._server = self._load()
        self._server.handle_chat_completions(body, take)

    def _load(self) -> Any:
        runtime = import_module(RUNTIME)
        parameters = runtime.CommonParams()
        parameters.model.path = str(chat_weights())
        parameters.model_alias = {MODEL}
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = self._threads
        parameters.n_parallel = 1
        parameters.n_ctx = CONTEXT
        parameters.n_threads_http = 1
        parameters.api_keys = [secrets.token_urlsafe(32)]  # it listens on a loopback port that nobody is to use
        parameters.verbosity = -1
        return runtime.Server(parameters)


def _allowed(body: dict[str, Any]) -> dict[str, Any]:
    """The fields that the model understands; the runtime has many others, which callers have no business with."""
    taken = {name: value for name, value in body.items() if name in _TAKEN and value is not None}
    return {**taken, "stream": True, "stream_options": {"include_usage": True}}
