"""What every provider of models must do, whatever stands behind it: the checks of ``ports/models.Provider``."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.core.models.requests import Kind, read_chat, read_embeddings
from interlock.ports.models import Provider

MOST = 1_048_576


class Trial:
    """The checks of one provider, with the models to ask it for."""

    def __init__(self, provider: Provider, chat: str, embedder: str) -> None:
        self.provider = provider
        self.chat = chat
        self.embedder = embedder

    async def ask(self, kind: Kind, body: dict[str, Any]) -> tuple[int, bytes]:
        """Status and whole body."""
        async with self.provider.call(kind, msgspec.json.encode(body), "a-key-of-ours") as upstream:
            return upstream.status, await upstream.read(MOST)

    def chat_body(self, text: str = "Say hello, please.", **more: Any) -> dict[str, Any]:
        return {"model": self.chat, "messages": [{"role": "user", "content": text}], "max_tokens": 12, **more}

    async def whole_answers_tell_what_they_used(self) -> None:
        body = self.chat_body()
        status, answer = await self.ask("chat", body)
        assert status == 200, answer
        told = msgspec.json.decode(answer)
        (choice,) = told["choices"]
        assert choice["message"]["role"] == "assistant"
        assert choice["message"]["content"]
        assert choice["finish_reason"] in ("stop", "length")
        assert 0 < told["usage"]["completion_tokens"] <= 12
        assert 0 < told["usage"]["prompt_tokens"] <= read_chat(body).most_prompt

    async def streams_end_with_their_usage_and_done(self) -> None:
        body = self.chat_body(stream=True, stream_options={"include_usage": True})
        read = b""
        async with self.provider.call("chat", msgspec.json.encode(body)) as upstream:
            assert upstream.status == 200
            assert upstream.headers["content-type"].startswith("text/event-stream")
            async for piece in upstream.pieces():
                read += piece
        *events, done, rest = read.split(b"\n\n")
        assert (done, rest) == (b"data: [DONE]", b"")
        chunks = [msgspec.json.decode(event.removeprefix(b"data: ")) for event in events]
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] > 0
        texts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1]]
        assert "".join(texts)
        assert chunks[-2]["choices"][0]["finish_reason"] in ("stop", "length")

    async def texts_are_embedded_in_their_order(self) -> None:
        texts = ["1", "2", "1"]
        body = {"model": self.embedder, "input": texts, "encoding_format": "float"}
        status, answer = await self.ask("embeddings", body)
        assert status == 200, answer
        told = msgspec.json.decode(answer)
        vectors = {row["index"]: row["embedding"] for row in told["data"]}
        assert sorted(vectors) == [0, 1, 2]
        assert vectors[0] == vectors[2] != vectors[1]
        assert 0 < told["usage"]["prompt_tokens"] <= read_embeddings(body).most_prompt

    async def who_leaves_early_is_not_in_the_way_of_others(self) -> None:
        body = self.chat_body("Tell me a long story.", stream=True, max_tokens=500)
        async with self.provider.call("chat", msgspec.json.encode(body)) as upstream:
            async for _ in upstream.pieces():
                break
        await self.whole_answers_tell_what_they_used()


CHECKS = [name for name in vars(Trial) if name.startswith(("whole", "streams", "texts", "who"))]
