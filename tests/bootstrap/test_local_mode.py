"""Local mode stays on its machine unless somebody says otherwise, and says so itself."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import httpx2
import pytest

from interlock.bootstrap.checks import is_exposed, refuse_exposed
from interlock.bootstrap.server import http_settings, open_port, url_of
from interlock.config import Settings
from interlock.core.errors import InterlockError
from interlock.doors.cli.failures import exit_code
from interlock.doors.cli.remedies import next_step
from served import start_server, stop_server


def settings(**given: object) -> Settings:
    """Settings that only these values and the defaults make."""
    return Settings(_env_file=None, **given)  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "::1", "[::1]", "127.8.8.8"])
def test_loopback_needs_no_permission(host: str) -> None:
    chosen = settings(local=True, host=host)
    assert not is_exposed(chosen)
    refuse_exposed(chosen)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "box.example", "localhost.example"])
def test_any_other_address_is_refused_with_the_option_that_allows_it(host: str) -> None:
    with pytest.raises(InterlockError) as refused:
        refuse_exposed(settings(local=True, host=host))
    assert exit_code(refused.value) == 2
    assert host in refused.value.message
    assert "--local-allow-remote (INTERLOCK_LOCAL_ALLOW_REMOTE=true)" in next_step(refused.value)
    refuse_exposed(settings(local=True, host=host, local_allow_remote=True))
    refuse_exposed(settings(local=False, host=host))


def test_the_address_it_was_told_to_listen_on_is_a_name_it_answers_to() -> None:
    told = http_settings(settings(local=True, host="192.168.1.2", local_allow_remote=True, trusted_hosts="box.example"))
    assert (told.allowed_hosts, told.allows_remote) == ({"192.168.1.2", "box.example"}, True)
    everywhere = http_settings(settings(local=True, host="0.0.0.0", local_allow_remote=True))
    assert everywhere.allowed_hosts == frozenset()
    assert http_settings(settings(host="192.168.1.2")).allowed_hosts == frozenset()


@pytest.mark.parametrize(
    ("host", "url"), [("0.0.0.0", "http://127.0.0.1:"), ("::1", "http://[::1]:"), ("::", "http://[::1]:")]
)
def test_the_announced_address_is_one_that_can_be_opened_here(host: str, url: str) -> None:
    listener = open_port(host, 0)
    try:
        assert url_of(listener) == f"{url}{listener.getsockname()[1]}"
    finally:
        listener.close()


def test_health_tells_whether_real_models_serve() -> None:
    assert http_settings(settings(local=True)).mode == "offline"
    assert http_settings(settings(local=True, openai_api_key="sk-of-a-test")).mode == "real"
    assert http_settings(settings(local=True, openai_api_key="sk-of-a-test", mode="offline")).mode == "offline"
    assert http_settings(settings(mode="real")).mode == "real"


def test_a_taken_port_and_a_foreign_address_are_said_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(InterlockError, match=r"Cannot listen on 127\.0\.0\.1:") as taken:
            open_port("127.0.0.1", other.getsockname()[1])
        assert "--port" in next_step(taken.value)
    with pytest.raises(InterlockError, match=r"Cannot listen on 203\.0\.113\.9:") as foreign:
        open_port("203.0.113.9", 0)
    assert "--host" in next_step(foreign.value)


def test_an_allowed_server_warns_at_its_start_and_still_checks_names_and_pages(tmp_path: Path) -> None:
    process, url, _ = start_server(
        tmp_path, "--host", "0.0.0.0", "--local-allow-remote", INTERLOCK_TRUSTED_HOSTS="box.example"
    )
    try:
        assert url.startswith("http://127.0.0.1:")
        with httpx2.Client(base_url=url) as client:
            assert client.get("/live").status_code == 200
            assert client.get("/live", headers={"host": "box.example"}).status_code == 200
            assert client.get("/live", headers={"host": "evil.example"}).status_code == 421
            assert client.get("/live", headers={"origin": "https://evil.example"}).status_code == 403
        log = (tmp_path / "server.log").read_text()
        assert re.search(r"WARNING - \S+ - local\.exposed ", log)
        assert "box.example" in log
    finally:
        assert stop_server(process) == 0
