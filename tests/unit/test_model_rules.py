"""What may be asked of models, what it costs, and who serves it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from address_house import INTERNAL_SPELLINGS
from interlock.core.errors import InterlockError
from interlock.core.models.answers import read_usage
from interlock.core.models.price_table import AS_OF, TABLE, VERSION, list_price
from interlock.core.models.prices import Price, Usage, price, total
from interlock.core.models.requests import DEFAULT_MAX_TOKENS, Kind, read_chat, read_embeddings, with_limit
from interlock.core.models.routing import Deployment, Offer, Routes, priced
from interlock.core.models.slices import Slice
from interlock.core.models.tokens import count_text
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.services.models.attempts import body_for
from interlock.services.models.bundle import build_models
from interlock.services.models.no_books import NoBooks

HELLO = [{"role": "user", "content": "hello"}]


def code_of(body: dict[str, Any]) -> str:
    with pytest.raises(InterlockError) as refused:
        read_chat(body)
    return refused.value.code


def test_unknown_fields_stay_and_stand_ins_do_not() -> None:
    request = read_chat({"model": "a", "models": ["b", "a"], "messages": HELLO, "top_k": 3})
    assert request.models == ("a", "b")
    assert request.body == {"model": "a", "messages": HELLO, "top_k": 3}


@pytest.mark.parametrize(
    "change",
    [
        {"messages": []},
        {"messages": "hello"},
        {"messages": [{"content": "x"}]},
        {"model": ""},
        {"model": None},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"n": 129},
        {"stream": "yes"},
        {"stream_options": 1},
    ],
)
def test_what_cannot_be_asked_is_refused(change: dict[str, Any]) -> None:
    assert code_of({"model": "m", "messages": HELLO, **change}) == "VALIDATION_ERROR"


def test_a_caller_with_a_budget_has_one_limit_by_the_name_that_the_provider_obeys() -> None:
    bare = with_limit(read_chat({"model": "m", "messages": HELLO, "n": 2}))
    assert bare.most_output == 2 * DEFAULT_MAX_TOKENS
    others = {"max_tokens": 100_000, "n_predict": 100_000, "max_new_tokens": 100_000}
    own = with_limit(read_chat({"model": "m", "messages": HELLO, "max_completion_tokens": 7, **others, "top_k": 3}))
    assert own.most_output == 7
    elsewhere, openai = Deployment("p", "m", "m", None), Deployment("p", "m", "m", None, "max_completion_tokens")
    sent = [json.loads(body_for(*one)) for one in ((bare, elsewhere), (own, elsewhere), (own, openai))]
    same = {"model": "m", "messages": HELLO}
    assert sent[0] == {**same, "n": 2, "max_tokens": DEFAULT_MAX_TOKENS}
    assert sent[1] == {**same, "top_k": 3, "max_tokens": 7}
    assert sent[2] == {**same, "top_k": 3, "max_completion_tokens": 7}


def test_nobody_elses_limit_is_touched() -> None:
    body = {"model": "m", "messages": HELLO, "max_tokens": 9, "max_completion_tokens": 7, "n_predict": -1}
    assert json.loads(body_for(read_chat(body), Deployment("p", "m", "m", None))) == body


@pytest.mark.parametrize(
    ("told", "kind", "used"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, "chat", Usage(5, 7)),
        ({"prompt_tokens": 5.0, "completion_tokens": 7.0}, "chat", Usage(5, 7)),
        ({"prompt_tokens": 5, "completion_tokens": None, "total_tokens": 12}, "chat", Usage(5, 7)),
        ({"prompt_tokens": 5, "completion_tokens": None}, "chat", None),
        ({"prompt_tokens": -5, "completion_tokens": 7}, "chat", None),
        ({"prompt_tokens": 10**30, "completion_tokens": 7}, "chat", None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, "chat", None),
        ({"total_tokens": 12}, "chat", None),
        ({}, "chat", None),
        (None, "chat", None),
        ({"prompt_tokens": 5, "total_tokens": 5}, "embeddings", Usage(5)),
        ({"total_tokens": 12}, "embeddings", Usage(12)),
        ({"prompt_tokens": 0, "total_tokens": 12}, "embeddings", Usage(12)),
        ({}, "embeddings", None),
    ],
)
def test_what_a_provider_does_not_tell_is_not_nothing(told: Any, kind: Kind, used: Usage | None) -> None:
    assert read_usage(json.dumps({"usage": told}).encode(), kind) == used


@pytest.mark.parametrize("given", ["", [], ["a", 1], [1.5], [[]], [["a"]], None, {}])
def test_what_cannot_be_embedded_is_refused(given: Any) -> None:
    with pytest.raises(InterlockError):
        read_embeddings({"model": "m", "input": given})


@given(st.text())
def test_a_text_has_no_more_tokens_than_bytes_and_no_fewer_than_a_third(text: str) -> None:
    assert len(text.encode()) / 3 <= count_text(text) <= len(text.encode())


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_price_is_rounded_up_and_never_loses_anything(tokens_in: int, tokens_out: int, one: int, other: int) -> None:
    cost = Price(one, other).cost(Usage(tokens_in, tokens_out))
    exact = tokens_in * one + tokens_out * other
    assert exact <= cost * 1_000_000 < exact + 1_000_000


def test_several_calls_are_one_sum() -> None:
    assert total([Usage(1, 2), Usage(3, 4, is_estimated=True)]) == Usage(4, 6, is_estimated=True)


def test_providers_that_name_a_model_come_before_those_that_take_any() -> None:
    routes = Routes([Offer(provider="any"), Offer(provider="one", models={"m": "theirs"}, prices={"m": price(1, 2)})])
    found = routes.find(["m"])
    assert [(one.provider, one.upstream) for one in found] == [("one", "theirs"), ("any", "m")]
    assert [one.provider for one in priced(found)] == ["one"]
    with pytest.raises(InterlockError) as refused:
        priced(found[1:])
    assert refused.value.code == "MODEL_UNPRICED"


@pytest.mark.parametrize(
    ("offers", "code"), [([], "LLM_NOT_CONFIGURED"), ([Offer(provider="p", models={"a": "a"})], "MODEL_NOT_FOUND")]
)
def test_nobody_there_is_told_apart_from_nobody_who_knows_it(offers: list[Offer], code: str) -> None:
    with pytest.raises(InterlockError) as refused:
        Routes(offers).find(["m"])
    assert refused.value.code == code


@given(st.integers(0, 1000), st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=30))
def test_a_slice_never_gives_more_than_it_has(granted: int, calls: list[tuple[int, float]]) -> None:
    part = Slice(granted)
    under_way: list[tuple[int, int]] = []
    for estimate, share in calls:
        if part.reserve(estimate):
            under_way.append((estimate, int(estimate * share)))
        elif under_way:
            part.settle(*under_way.pop())
        assert 0 <= part.room <= granted
    for estimate, cost in under_way:
        part.settle(estimate, cost)
    assert part.set_aside == 0
    assert part.spent <= granted


def test_the_price_table_says_when_and_where_it_was_read() -> None:
    assert VERSION >= 2
    assert AS_OF.year >= 2026
    assert all(listed.source and listed.price.input > 0 for listed in TABLE.values())
    assert list_price("gpt-4o-mini") == price(0.15, 0.6)
    assert list_price("a-model-that-nobody-knows") is None


TEXTS = st.lists(st.text(max_size=60), min_size=1, max_size=4)


@given(texts=TEXTS, system=st.text(max_size=30))
def test_no_tokenizer_finds_more_tokens_in_a_prompt_than_are_set_aside(texts: list[str], system: str) -> None:
    messages = [{"role": "system", "content": system}, *({"role": "user", "content": text} for text in texts)]
    request = read_chat({"model": "m", "messages": messages})
    # The worst tokenizer has a token for every byte, and templates put about ten around a message.
    worst = sum(len(str(one["content"]).encode("utf-8", "replace")) + 10 for one in messages)
    assert request.prompt_tokens <= worst <= request.most_prompt


@given(texts=TEXTS)
def test_nor_in_texts_to_embed(texts: list[str]) -> None:
    request = read_embeddings({"model": "m", "input": texts})
    assert sum(len(text.encode("utf-8", "replace")) + 2 for text in texts) <= request.most_prompt


def test_pictures_and_tools_are_set_aside_for_generously() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    seen = read_chat({"model": "m", "messages": [{"role": "user", "content": [picture]}]})
    assert seen.most_prompt > 40_000
    tools = [{"type": "function", "function": {"name": "f"}}]
    plain, tooled = (read_chat({"model": "m", "messages": HELLO, **more}) for more in ({}, {"tools": tools}))
    assert tooled.most_prompt > plain.most_prompt + 1_000


def test_thinking_is_set_aside_and_limited_too() -> None:
    asked = {"model": "m", "messages": HELLO, "max_tokens": 10}
    assert read_chat({**asked, "thinking_budget": 70}).most_output == 80
    open_ended = read_chat({**asked, "enable_thinking": True})
    assert open_ended.most_output == 10 + DEFAULT_MAX_TOKENS
    assert with_limit(open_ended).body["thinking_budget"] == DEFAULT_MAX_TOKENS
    assert "thinking_budget" not in with_limit(read_chat({**asked, "enable_thinking": False})).body


def test_models_are_offered_by_name_or_as_far_as_somebody_serves_those_that_are_allowed() -> None:
    named = Offer(provider="p", models={"a": "x", "b": "y"})
    assert [one.model for one in Routes([named]).offered()] == ["a", "b"]
    assert [one.model for one in Routes([named]).offered({"b", "c"})] == ["b"]
    both = Routes([Offer(provider="any"), named])
    assert [(one.model, one.provider) for one in both.offered({"b", "c"})] == [("b", "p"), ("c", "any")]


def test_who_lacks_a_provider_is_told_the_whole_name_of_the_setting() -> None:
    with pytest.raises(InterlockError, match="INTERLOCK_MODEL_PROVIDERS"):
        Routes([]).find(["a"])


@pytest.mark.parametrize(("offers", "is_configured"), [([], False), ([Offer(provider="any")], True)])
def test_a_provider_that_takes_any_name_makes_models_available(offers: list[Offer], is_configured: bool) -> None:
    parts: dict[str, Any] = {"books": NoBooks(), "clock": SystemClock(), "ids": RandomIds()}
    assert build_models(routes=Routes(offers), providers={}, **parts).relay.is_configured is is_configured


ADDRESS_PARTS: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": "ADDRESS"}},
    {"type": "image_url", "image_url": "ADDRESS"},
    {"type": "image", "image": "ADDRESS"},
    {"type": "video", "video": ["https://example.org/1.png", "ADDRESS"]},
    {"type": "video_url", "video_url": {"url": "ADDRESS"}},
    {"type": "audio", "audio": "ADDRESS"},
    {"type": "input_audio", "input_audio": {"data": "ADDRESS", "format": "wav"}},
    {"type": "file", "file": {"file_data": "ADDRESS"}},
    {"type": "file", "file": {"file_url": "ADDRESS"}},
    {"type": "file", "file_url": "ADDRESS"},
    {"type": "document", "source": {"type": "url", "url": "ADDRESS"}},
    {"type": "tool_result", "content": [{"type": "image", "source": {"somewhere": "ADDRESS"}}]},
]


def ascii_start(host: str) -> str:
    return ascii(host[:40])


def with_address(part: dict[str, Any], address: str) -> dict[str, Any]:
    told = json.loads(json.dumps(part).replace("ADDRESS", address))
    return {"model": "m", "messages": [{"role": "user", "content": [told]}]}


@pytest.mark.parametrize("part", ADDRESS_PARTS, ids=json.dumps)
@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/latest", "file:///etc/passwd", "https://10.0.0.1/x", "ftp://example.org/x"]
)
def test_no_part_of_a_message_leads_a_provider_to_what_is_not_public(part: dict[str, Any], address: str) -> None:
    assert code_of(with_address(part, address)) == "FIELD_NOT_ALLOWED"


@pytest.mark.parametrize("part", ADDRESS_PARTS, ids=json.dumps)
@pytest.mark.parametrize("address", ["https://example.org/a.png", "data:image/png;base64,AAAA"])
def test_every_part_may_lead_to_what_is_public_or_hold_it(part: dict[str, Any], address: str) -> None:
    assert read_chat(with_address(part, address)).body["messages"] == with_address(part, address)["messages"]


@pytest.mark.parametrize("host", [
    *INTERNAL_SPELLINGS, "127.0.0.0x1", "a.b.0x", "0x7f.0.0.1", "1.2.3.4.5", "example.com:80:80", "a..b",
    "ex ample.org", "printer.local", "x.\u24dbocalhost", "example.org\\@127.0.0.1", "example.org\\.example.net",
    "example.org\t", "example.org:8\uff10", "\u00e4." * 100_000 + "example",
], ids=ascii_start)  # fmt: skip
def test_no_spelling_of_a_host_that_is_not_public_gets_to_a_provider(host: str) -> None:
    part = {"type": "image_url", "image_url": {"url": f"https://{host}/a.png"}}
    assert code_of({"model": "m", "messages": [{"role": "user", "content": [part]}]}) == "FIELD_NOT_ALLOWED"


@pytest.mark.parametrize("host", [
    "example.org", "EXAMPLE.org.", "example.org:8443", "8.8.8.8", "[2606:4700::1111]:443", "m\u00fcnchen.example",
    "my_service-1.example", "[64:ff9b::8.8.8.8]", "1and1.example",
])  # fmt: skip
@pytest.mark.parametrize("rest", ["", "/a b@c.png", "?x=@y", "#\\"])
def test_every_spelling_of_a_public_host_does(host: str, rest: str) -> None:
    part = {"type": "image_url", "image_url": {"url": f"https://{host}{rest}"}}
    assert read_chat({"model": "m", "messages": [{"role": "user", "content": [part]}]})


@given(st.text())
def test_any_text_in_place_of_an_address_is_taken_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://[{text}]:{text}/"):
        with suppress(InterlockError):
            read_chat({"model": "m", "messages": [{"role": "user", "content": [{"type": "image", "image": url}]}]})


def test_addresses_are_refused_where_content_is_one_part_and_beside_it() -> None:
    part = {"type": "image", "image": "file:///etc/passwd"}
    for message in ({"content": part}, {"content": "look", "images": ["http://127.0.0.1/"]}):
        assert code_of({"model": "m", "messages": [{"role": "user", **message}]}) == "FIELD_NOT_ALLOWED"


def test_what_is_only_read_may_hold_any_address() -> None:
    said = "http://127.0.0.1/ is where it listens"
    cited = [{"type": "url_citation", "url_citation": {"url": "http://example.org"}}]
    calls = [{"id": "c", "type": "function", "function": {"name": "get", "arguments": "http://127.0.0.1/"}}]
    messages = [
        {"role": "user", "content": said},
        {"role": "assistant", "content": [{"type": "text", "text": said, "annotations": cited}], "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": said},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "//uQxAAAA=", "format": "mp3"}}]},
    ]
    assert read_chat({"model": "m", "messages": messages}).body["messages"] == messages
