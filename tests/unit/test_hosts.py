"""Names of hosts: one spelling, whatever they came as, and which of them are this machine."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.kit.hosts import canonical, host_of, in_url, is_everywhere, is_loopback


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8000", "localhost"),
        ("box.example.", "box.example"),
        ("box.example.:80", "box.example"),
        ("under_score-1.example", "under_score-1.example"),
        ("127.0.0.1:65535", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0::1]:8000", "::1"),
        ("", ""),
        (".", ""),
        ("a b", ""),
        ("a@b", ""),
        ("a:b", ""),
        ("a:1:2", ""),
        ("a:123456", ""),
        ("::1", ""),
        ("[::1", ""),
        ("[zz]", ""),
        ("[::1]x", ""),
        ("bücher.example", ""),
        ("http://a", ""),
        ("a/b", ""),
    ],
)
def test_the_host_of_an_authority(authority: str, host: str) -> None:
    assert host_of(authority) == host


@given(st.text(max_size=400))
def test_a_host_is_found_or_not_and_never_keeps_what_could_be_misread(text: str) -> None:
    host = host_of(text)
    assert host == "" or canonical(host) == host
    assert not set(host) & set("/@?# \t\n[]")


@given(st.ip_addresses())
def test_addresses_survive_being_written_into_a_url(address: IPv4Address | IPv6Address) -> None:
    text = canonical(str(address))
    if "%" not in text:
        assert host_of(f"{in_url(text)}:8000") == text
        assert host_of(in_url(text.upper())) == text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example", "::2"])
def test_nothing_else_is(host: str) -> None:
    assert not is_loopback(host)


def test_everywhere_is_no_address_of_its_own() -> None:
    assert is_everywhere("0.0.0.0")
    assert is_everywhere("::")
    assert not is_everywhere("127.0.0.1")
    assert not is_everywhere("box.example")
