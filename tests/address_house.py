"""Ways to write an address that nobody outside may reach, and a listener that notices whoever tries."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

INTERNAL = ("127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.0.1")
_WIDE = str.maketrans("0123456789.", "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\u3002")


def _v4(address: str) -> list[str]:
    """One IPv4 address in every form that some resolver reads."""
    a, b, c, d = parts = [int(part) for part in address.split(".")]
    number = int.from_bytes(bytes(parts), "big")
    high, low = f"{a:02x}{b:02x}", f"{c:02x}{d:02x}"
    return [
        address,
        f"{address}.",
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(hex(part) for part in parts),
        ".".join(f"0{part:o}" for part in parts),
        f"{a}.{b}.{c * 256 + d}",
        f"{a}.{b * 65536 + c * 256 + d}",
        address.translate(_WIDE),
        "".join(f"%{ord(letter):02x}" for letter in address),
        f"[::ffff:{address}]",
        f"[::ffff:{high}:{low}]",
        f"[0:0:0:0:0:FFFF:{high.upper()}:{low.upper()}]",
        f"[::{address}]",
        f"[::ffff:0:{address}]",
        f"[64:ff9b::{address}]",
        f"[64:ff9b:1::{high}:{low}]",
        f"[2002:{high}:{low}::]",
        f"[2001:0:{high}:{low}::]",
    ]


INTERNAL_SPELLINGS = [
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "2130706433", "0x7f000001", "0X7F000001", "0x7f.1",
    "0x7f.0x0.0x0.0x1", "017700000001", "0177.0.0.1", "0177.1", "127.0.0.1.", "127.0.0.01", "0", "0.0.0.0", "0x0", "00",
    "localhost", "LOCALHOST", "LocalHost", "\u2113ocalhost", "\uff4c\uff4f\uff43alhost",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1",
    "%31%32%37.0.0.1", "127.0.0.1%00.example.com", "127.0.0.1%2f", "user@127.0.0.1", "user:pass@127.0.0.1",
    "example.com@127.0.0.1", "example.com\\@127.0.0.1", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::FFFF:127.0.0.1]", "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
    "[2002:7f00:0001::1]", "[2001:0:7f00:1::]", "[::1%lo]", "[::1%25lo]", "[fe80::1%25lo]", "[fe80::1]", "[fec0::1]",
    "[fd00:ec2::254]", "[ff02::1]", "[::ffff:a9fe:a9fe]", "[::ffff:169.254.169.254]", "169.254.169.254", "2852039166",
    "0xa9fea9fe", "0251.0376.0251.0376", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "10.0.0.1",
    "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
]  # fmt: skip
"""Hosts that are no public address, whichever way they are read."""
_SCHEMES = ["file", "gopher", "ftp", "unix", "dict", "ldap", "ws", "jar:http", "javascript", "http+unix", "HTTP\t"]


def internal_urls(port: int) -> list[str]:
    """At least 120 URLs that lead inside, to ``port`` where they can name one, or that no client should follow."""
    hosts = [spelling for address in INTERNAL for spelling in _v4(address)]
    hosts += [spelling for spelling in INTERNAL_SPELLINGS if spelling not in hosts]
    bent = [
        f"http:/127.0.0.1:{port}/",
        f"http:\\\\127.0.0.1:{port}/",
        f"//127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}\r\nX: y/",
        f"http://example.com\r\nHost: 127.0.0.1:{port}/",
        f"http://example.com#@127.0.0.1:{port}/ x",
        f"http://127.0.0.1:{port}:80/",
        f"http://127.0.0.1:{port + 65536}/",
        "http://127.0.0.1:0/",
        "http:///etc/passwd",
        "file:///etc/passwd",
        f" http://127.0.0.1:{port}/",
    ]
    urls = [f"http://{host}:{port}/" for host in hosts]
    return urls + [f"{scheme}://127.0.0.1:{port}/" for scheme in _SCHEMES] + bent


@dataclass
class Canary:
    """Listens on all addresses of this machine; nobody should ever connect."""

    port: int
    connections: int = 0


@asynccontextmanager
async def canary() -> AsyncIterator[Canary]:
    """A listener for IPv4 and IPv6."""
    with socket.socket(socket.AF_INET6) as listening:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(("::", 0))
        found = Canary(listening.getsockname()[1])

        def connected() -> asyncio.Protocol:
            found.connections += 1
            return asyncio.Protocol()

        server = await asyncio.get_running_loop().create_server(connected, sock=listening)
        try:
            yield found
        finally:
            server.close()


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
