"""Whose address a request has: headers count only from proxies that the operator trusts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.doors.http.plumbing.client import ClientAddresses, network_of


def find(trusted: list[str], peer: str, *lines: str) -> str:
    headers = [(b"host", b"x"), *((b"x-forwarded-for", line.encode()) for line in lines)]
    return ClientAddresses(trusted).find(peer, headers)


def test_without_trusted_proxies_the_socket_counts() -> None:
    assert find([], "203.0.113.9", "10.0.0.1") == "203.0.113.9"
    assert find(["10.0.0.0/8"], "203.0.113.9", "10.0.0.1, 198.51.100.1") == "203.0.113.9"
    assert find([], "") == ""


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        (["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7:4711"], "198.51.100.7"),
        (["[2001:db8::7]:443"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6, unknown"], "10.1.1.1"),
        (["6.6.6.6, , 10.2.2.2"], "10.2.2.2"),
        ([""], "10.1.1.1"),
        ([], "10.1.1.1"),
        (["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
    ],
)
def test_behind_trusted_proxies_the_nearest_other_address_counts(lines: list[str], client: str) -> None:
    assert find(["10.0.0.0/8"], "10.1.1.1", *lines) == client


def test_the_word_loopback_means_both_families() -> None:
    assert find(["loopback"], "::1", "198.51.100.7") == "198.51.100.7"
    assert find(["loopback"], "127.0.0.1", "198.51.100.7") == "198.51.100.7"


@given(st.lists(st.text(max_size=40), max_size=5))
def test_whatever_stands_in_front_of_the_nearest_address_changes_nothing(forged: list[str]) -> None:
    lines = [line.encode("latin-1", "replace").decode("latin-1") for line in forged]
    headers = [(b"x-forwarded-for", f"{line}, 198.51.100.7".encode("latin-1", "replace")) for line in lines[-1:]]
    early = [(b"x-forwarded-for", line.encode("latin-1", "replace")) for line in lines[:-1]]
    found = ClientAddresses(["10.0.0.0/8"]).find("10.1.1.1", [*early, *headers])
    if headers:
        assert found == "198.51.100.7"


def test_one_customer_is_one_ipv6_network() -> None:
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::4") != network_of("2001:db8:1:2::4")
    assert network_of("::ffff:198.51.100.7") == network_of("198.51.100.7") == "198.51.100.7"
    assert network_of("") == ""
