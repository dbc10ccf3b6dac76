"""Which addresses and URLs outgoing calls may have, decided without a network."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.backends.egress.address import AddressPolicy
from interlock.backends.egress.target import parse_target
from interlock.core.errors import ErrorKind, InterlockError

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "2a00:1450::1",
    "64:ff9b::8.8.8.8",
    "::ffff:8.8.8.8",
]
INTERNAL = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
    "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0:7f00:1",
    "64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:db8::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    assert AddressPolicy().permits(address)


@pytest.mark.parametrize("address", INTERNAL)
def test_all_other_addresses_are_not(address: str) -> None:
    assert not AddressPolicy().permits(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_in_every_ipv6_dress(address: ipaddress.IPv4Address) -> None:
    policy = AddressPolicy(["loopback", "10.0.0.0/8"])
    plain = policy.permits(str(address))
    assert policy.permits(f"::ffff:{address}") is plain
    assert policy.permits(f"64:ff9b::{address}") is plain
    assert not policy.permits(str(ipaddress.IPv6Address(0x2002 << 112 | int(address) << 80 | 1)))


@given(st.ip_addresses())
def test_a_permitted_address_is_global_in_the_registries_of_python(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if AddressPolicy().permits(str(address)):
        meant = address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
        assert meant in ipaddress.ip_network("64:ff9b::/96") or (meant.is_global and not meant.is_multicast)


def test_the_operator_can_allow_networks_single_addresses_and_loopback() -> None:
    policy = AddressPolicy(["loopback", "10.1.0.0/16", "fd00::/8", " 192.168.7.7 "])
    for address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "10.1.2.3", "fd00::5", "192.168.7.7"):
        assert policy.permits(address), address
    for address in ("10.2.0.1", "192.168.7.8", "fe80::1", "169.254.169.254", "::", "0.0.0.0", "2002:7f00:1::"):
        assert not policy.permits(address), address


@pytest.mark.parametrize("entry", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "*", "127.1"])
def test_an_entry_that_is_no_network_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        AddressPolicy([entry])


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://example.com", "example.com", 80),
        ("HTTPS://Example.COM./a/b?c=d#e", "example.com.", 443),
        ("http://my_service-1.example:8080", "my_service-1.example", 8080),
        ("http://m\u00fcnchen.example/\u00fc?q=\u00e4", "xn--mnchen-3ya.example", 80),
        ("http://8.8.8.8:65535/", "8.8.8.8", 65535),
        ("http://[2606:4700::1]:1/", "2606:4700::1", 1),
        ("http://1and1.example/@x?a=b@c", "1and1.example", 80),
        ("http://x0x7f/", "x0x7f", 80),
    ],
)
def test_an_ordinary_url_is_read_once(url: str, host: str, port: int) -> None:
    target = parse_target(url)
    assert (target.origin.host, target.origin.port) == (host, port)
    assert target.origin.is_address == (host[0] in "82" and host != "2")


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "//example.com/", "http:example.com", "http:/example.com", "http:///example.com", "http://",
        "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "unix:///run/x.sock", "ws://example.com",
        "javascript:alert(1)", "data:text/plain,x", "http+unix://%2Frun%2Fx.sock/", "dict://127.0.0.1:6379/",
        " http://example.com", "http://exa mple.com", "http://example.com/\r\nHost: x", "http://example.com/\x00",
        "http://example.com\\@127.0.0.1/", "http://example.com/\ud800", "http://u:p@example.com/", "http://@example.com/",
        "http://example.com@127.0.0.1/", "http://%31%32%37.0.0.1/", "http://127.0.0.1%00.example.com/",
        "http://[::1%25lo]/", "http://[fe80::1%1]/", "http://[v1.a]/", "http://[::1/", "http://[]/", "http://[::1]x/",
        "http://example.com:0/", "http://example.com:65536/", "http://example.com:-1/", "http://example.com:\uff18\uff10/",
        "http://example.com:80:80/", "http://fe80::1/", "http://.example.com/", "http://a..b/", "http://..", "http://a,b/",
        "http://127.1/", "http://127.0.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0/",
        "http://0177.0.0.1/", "http://0177.1/", "http://127.0.0.1./", "http://127.0.0.0x1/", "http://1.2.3.4.5/",
        "http://256.1.1.1/", "http://a.b.0x/", "http://" + "a" * 64 + ".example/", "http://" + "a." * 130 + "b/",
        "http://example.com/" + "a" * 9000, "http://loc\u00adalhost/", "http://\u2025/",
    ],
)  # fmt: skip
def test_an_unusual_url_is_refused(url: str) -> None:
    with pytest.raises(InterlockError) as refused:
        parse_target(url)
    assert (refused.value.kind, refused.value.code) == (ErrorKind.DENIED, "EGRESS_BLOCKED")


@given(st.text())
def test_any_text_is_a_target_or_a_typed_refusal(text: str) -> None:
    for url in (text, "http://" + text, f"http://{text}/", f"https://[{text}]:{text}/"):
        try:
            target = parse_target(url)
        except InterlockError:
            continue
        assert target.url.scheme in ("http", "https")
        assert target.origin.host


def test_a_refusal_does_not_repeat_secrets_of_the_url() -> None:
    for url in ("http://user:secret@example.com/", "ftp://example.com/?key=secret", "http://a b/#secret"):
        with pytest.raises(InterlockError) as refused:
            parse_target(url)
        assert "secret" not in refused.value.message
