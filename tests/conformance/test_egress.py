"""What every egress backend promises, against real servers on this machine: who is reached, and what comes back."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from address_house import INTERNAL_SPELLINGS
from interlock.backends.egress.client import GuardedEgress
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.egress import Egress, EgressResponse

pytestmark = pytest.mark.asyncio
MakeEgress = Callable[..., Egress]


@pytest_asyncio.fixture
async def make_egress() -> AsyncIterator[MakeEgress]:
    """Make clients of the backend under test; all are closed after the test."""
    made: list[GuardedEgress] = []

    def make(*allow: str, **options: Any) -> Egress:
        made.append(GuardedEgress(allow, **options))
        return made[-1]

    yield make
    for egress in made:
        await egress.close()


async def call(egress: Egress, url: str, method: str = "GET", **changes: Any) -> EgressResponse:
    options = {"headers": {}, "body": None, "timeout": 10.0, "max_bytes": 1_048_576} | changes
    return await egress.request(method, url, **options)


async def refusal(egress: Egress, url: str, **changes: Any) -> InterlockError:
    with pytest.raises(InterlockError) as refused:
        await call(egress, url, **changes)
    return refused.value


@dataclass
class Site:
    """A server that remembers what it was asked."""

    port: int = 0
    connections: int = 0
    requests: list[web.BaseRequest] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Site]:
    """Serve on one port of all addresses of this machine, IPv4 and IPv6."""
    site = Site()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        site.requests.append(request)
        if answer is not None:
            return await answer(request)
        return web.Response(text=f"{request.method} {(await request.read()).decode()}")

    protocols = web.Server(handle)

    def connected() -> asyncio.Protocol:
        site.connections += 1
        return protocols()

    with socket.socket(socket.AF_INET6) as listening:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(("::", 0))
        server = await asyncio.get_running_loop().create_server(connected, sock=listening, ssl=tls)
        site.port = listening.getsockname()[1]
        try:
            yield site
        finally:
            server.close()
            await protocols.shutdown(0.01)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """The name service: a name has a list of answers, one for each look-up, the last one for all further ones."""
    known: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def look_up(host: str, *args: Any, **kwargs: Any) -> Any:
        if host not in known:
            return real(host, *args, **kwargs)
        answers = known[host]
        return [
            found for address in (answers.pop(0) if len(answers) > 1 else answers[0]) for found in real(address, *args)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@pytest.mark.parametrize("spelling", INTERNAL_SPELLINGS)
async def test_no_spelling_of_an_internal_address_is_connected_to(make_egress: MakeEgress, spelling: str) -> None:
    """J1."""
    async with serving() as canary:
        for scheme in ("http", "https"):
            refused = await refusal(make_egress(), f"{scheme}://{spelling}:{canary.port}/")
            assert (refused.kind, refused.code, refused.retryable) == (ErrorKind.DENIED, "EGRESS_BLOCKED", False)
        assert canary.connections == 0


@pytest.mark.parametrize("name", ["localhost.", "localhost.localdomain", "a.localhost", "ip6-localhost"])
async def test_a_name_that_may_mean_this_machine_is_not_connected_to(make_egress: MakeEgress, name: str) -> None:
    """J1."""
    async with serving() as canary:
        assert (await refusal(make_egress(), canary.url(host=name))).code in (
            "EGRESS_BLOCKED",
            "EXTERNAL_SERVICE_ERROR",
        )
        assert canary.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.3", "[::1]", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST"])
async def test_loopback_is_reached_when_the_operator_allows_it(make_egress: MakeEgress, host: str) -> None:
    async with serving() as site:
        assert (await call(make_egress("loopback"), site.url(host=host))).status == 200
        assert site.connections == 1


async def test_an_allowed_network_is_not_a_door_to_others(make_egress: MakeEgress) -> None:
    async with serving() as site:
        egress = make_egress("127.0.0.2/32")
        assert (await call(egress, site.url(host="127.0.0.2"))).status == 200
        assert (await refusal(egress, site.url(host="127.0.0.1"))).code == "EGRESS_BLOCKED"
        assert site.connections == 1


async def test_a_name_with_one_bad_address_among_its_good_ones_is_refused(
    make_egress: MakeEgress, names: dict[str, list[list[str]]]
) -> None:
    """J2."""
    names["mixed.example"] = [["127.0.0.2", "10.0.0.1"]]
    names["metadata.example"] = [["169.254.169.254"]]
    async with serving() as site:
        for name in names:
            refused = await refusal(make_egress("127.0.0.2"), site.url(host=name))
            assert refused.code == "EGRESS_BLOCKED"
            assert name in refused.message
            assert not any(address in repr((refused.message, refused.details)) for address in ("10.0", "169.254"))
        assert site.connections == 0


async def test_the_checked_address_is_the_connected_one_when_the_name_changes_its_mind(
    make_egress: MakeEgress, names: dict[str, list[list[str]]]
) -> None:
    """J2."""
    names["rebind.example"] = [["127.0.0.2"], ["127.0.0.1"]]
    async with serving() as site:
        egress = make_egress("127.0.0.2")
        assert (await call(egress, site.url(host="rebind.example"), headers={"X": "1"})).status == 200
        (request,) = site.requests
        assert request.transport is not None
        assert request.transport.get_extra_info("sockname")[0] == "::ffff:127.0.0.2"
        assert request.headers["Host"] == f"rebind.example:{site.port}"
        assert len(names["rebind.example"]) == 1, "one call, one look-up"
        assert (await refusal(make_egress("127.0.0.2"), site.url(host="rebind.example"))).code == "EGRESS_BLOCKED"


async def test_a_name_that_changes_its_mind_at_every_look_up_never_leads_inside(
    make_egress: MakeEgress, names: dict[str, list[list[str]]]
) -> None:
    """J2."""
    good, bad = ["127.0.0.2"], ["127.0.0.1"]
    names["turncoat.example"] = [good, bad, good + bad, bad] * 50

    async def hang_up(request: web.BaseRequest) -> web.Response:
        answer = web.Response()
        answer.force_close()  # so that the next call looks the name up again
        return answer

    async with serving(hang_up) as site:
        egress, url = make_egress("127.0.0.2"), site.url(host="turncoat.example")
        for _ in range(50):
            assert (await call(egress, url)).status == 200
            for _ in range(3):
                assert (await refusal(egress, url)).code == "EGRESS_BLOCKED"
        assert len(site.requests) == site.connections == 50


async def test_a_name_that_cannot_be_resolved_and_a_closed_port_are_errors_of_the_other_side(
    make_egress: MakeEgress,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        for url in ("http://no-such-name.invalid/", closed):
            failed = await refusal(make_egress("loopback"), url)
            assert (failed.kind, failed.code, failed.retryable) == (ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", True)
            assert "Errno" not in failed.message


async def test_method_headers_and_body_arrive_as_given(make_egress: MakeEgress) -> None:
    async with serving() as site:
        answer = await call(
            make_egress("loopback"),
            site.url("/a%2Fb?x=%2B&y=1+2#part"),
            "post",
            headers={
                "Idempotency-Key": "k1",
                "Content-Type": "text/plain",
                "accept-encoding": "br",
                "user-agent": "mine",
            },
            body="h\u00e9".encode(),
        )
        (request,) = site.requests
        assert answer == EgressResponse(200, answer.headers, "POST h\u00e9".encode(), truncated=False)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert request.path_qs == "/a%2Fb?x=%2B&y=1+2"
        assert request.headers.getall("Accept-Encoding") == ["identity"]
        assert request.headers.getall("User-Agent") == ["mine"]
        assert (request.headers["Idempotency-Key"], request.headers["Content-Type"]) == ("k1", "text/plain")


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"X": "a\r\nHost: b"}},
        {"headers": {"X": "a\nb"}},
        {"headers": {"X": "a\0b"}},
        {"headers": {"X\r\nY": "a"}},
        {"headers": {"X ": "a"}},
        {"headers": {"": "a"}},
        {"headers": {"Host": "other.example"}},
        {"headers": {"content-length": "5"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"Connection": "X"}},
        {"headers": {"Upgrade": "websocket"}},
        {"method": "CONNECT"},
        {"method": "GET / HTTP/1.1\r\nX: "},
        {"method": ""},
    ],
)
async def test_what_would_bend_the_message_is_refused_before_sending(
    make_egress: MakeEgress, changes: dict[str, Any]
) -> None:
    async with serving() as site:
        assert (await refusal(make_egress("loopback"), site.url(), **changes)).code == "EGRESS_BLOCKED"
        assert site.connections == 0


async def test_cookies_and_proxies_of_the_environment_are_not_used(
    make_egress: MakeEgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def set_cookie(request: web.BaseRequest) -> web.Response:
        answer = web.Response()
        answer.headers.add("Set-Cookie", "a=1; Path=/")
        answer.headers.add("Set-Cookie", "b=2; Path=/")
        return answer

    async with serving(set_cookie) as site, serving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        egress = make_egress("loopback")
        first, _ = [await call(egress, site.url()) for _ in range(2)]
        assert first.headers["set-cookie"] == "a=1; Path=/, b=2; Path=/"
        assert [request.headers.get("Cookie") for request in site.requests] == [None, None]
        assert (site.connections, proxy.connections) == (1, 0), "the connection is used again, the proxy never"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_like_any_other(make_egress: MakeEgress, status: int) -> None:
    """J3."""
    async with serving() as other, serving(_redirecting(status, other.url())) as site:
        answer = await call(make_egress("loopback"), site.url())
        assert (answer.status, answer.headers["location"]) == (status, other.url())
        assert other.connections == 0


async def test_followed_redirects_lose_the_headers_of_the_first_origin(make_egress: MakeEgress) -> None:
    """J3."""
    secrets = {"Authorization": "Bearer s", "X-Api-Key": "s"}
    async with serving() as other, serving(_redirecting(302, other.url("/end"))) as site:
        assert (await call(make_egress("loopback"), site.url(), headers=secrets, follow_redirects=True)).status == 200
        assert site.requests[0].headers["X-Api-Key"] == "s"
        assert other.requests[0].path == "/end"
        assert not secrets.keys() & other.requests[0].headers.keys()
        posted = await call(make_egress("loopback"), site.url(), "POST", body=b"x", follow_redirects=True)
        assert posted.status == 302, "only GET and HEAD are followed"


@pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/", "http://2130706433:{port}/", "file:///etc/passwd"])
async def test_each_hop_of_a_redirect_is_checked(make_egress: MakeEgress, location: str) -> None:
    """J3."""
    async with serving() as canary, serving(_redirecting(302, location.format(port=canary.port))) as site:
        url = site.url(host="127.0.0.2")
        assert (await refusal(make_egress("127.0.0.2"), url, follow_redirects=True)).code == "EGRESS_BLOCKED"
        assert canary.connections == 0


async def test_endless_redirects_end(make_egress: MakeEgress) -> None:
    """J3."""
    async with serving(_redirecting(307, "/again")) as site:
        failed = await refusal(make_egress("loopback"), site.url(), follow_redirects=True)
        assert (failed.code, failed.retryable) == ("EXTERNAL_SERVICE_ERROR", False)
        assert len(site.requests) == 6


async def test_a_last_answer_that_leads_nowhere_is_no_further_redirect(make_egress: MakeEgress) -> None:
    """J3."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=302, headers={"Location": "/again"} if len(site.requests) <= 5 else {})

    async with serving(answer) as site:
        assert (await call(make_egress("loopback"), site.url(), follow_redirects=True)).status == 302
        assert len(site.requests) == 6


async def test_tls_is_checked_for_the_name_that_was_asked_for(
    make_egress: MakeEgress, names: dict[str, list[list[str]]], tmp_path: Path
) -> None:
    names["good.example"] = names["other.example"] = [["127.0.0.1"]]
    server_tls, client_tls = _certificate("good.example", tmp_path)
    asked: list[str] = []
    server_tls.sni_callback = lambda _, name, __: asked.append(name)
    async with serving(tls=server_tls) as site:
        trusting = make_egress("loopback", tls=client_tls)
        assert (await call(trusting, f"https://good.example:{site.port}/")).status == 200
        assert asked == ["good.example"]
        for egress, name in ((trusting, "other.example"), (make_egress("loopback"), "good.example")):
            failed = await refusal(egress, f"https://{name}:{site.port}/")
            assert (failed.code, failed.retryable) == ("EXTERNAL_SERVICE_ERROR", False)
        assert len(site.requests) == 1


async def test_a_cancelled_call_lets_go_of_the_server(make_egress: MakeEgress) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def hold(request: web.BaseRequest) -> web.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            released.set()
        raise AssertionError

    protocols = web.Server(hold, handler_cancellation=True)
    server = await asyncio.get_running_loop().create_server(protocols, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    calling = asyncio.create_task(call(make_egress("loopback"), url))
    async with asyncio.timeout(5):
        await asked.wait()
        calling.cancel()
        await released.wait()
    assert calling.cancelled() or calling.cancelling()
    server.close()


async def test_after_closing_calls_are_refused_as_unavailable() -> None:
    async with serving() as site:
        egress = GuardedEgress(["loopback"])
        assert (await call(egress, site.url())).status == 200
        await egress.close()
        await egress.close()
        assert (await refusal(egress, site.url())).kind is ErrorKind.UNAVAILABLE


def _redirecting(status: int, location: str) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def redirect(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return redirect


def _certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a certificate for ``name`` and a client's context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, begins, begins + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = folder / "chain.pem"
    chain.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    return server, ssl.create_default_context(cafile=str(chain))
