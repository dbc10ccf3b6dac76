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


_NAMES = ["localhost", "LOCALHOST", "\uff4c\uff4f\uff43alhost", "localhost%00.example.com", "127.0.0.1\\.example.com"]
_V6 = ["[::1]", "[0::1]", "[::]", "[::1%25lo]", "[::1%lo]", "[fe80::1%25lo]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]"]
_OTHERS = ["0", "0.0.0.0", "127.1", "0x7f.1", "127.0.0.01", "100.100.100.200", "168.63.129.16", "192.0.0.192", "\u2460.1"]
_USERS = ["user@127.0.0.1", "user:pass@127.0.0.1", "example.com@127.0.0.1", "example.com%40127.0.0.1"]
_SCHEMES = ["file", "gopher", "ftp", "unix", "dict", "ldap", "ws", "jar:http", "javascript", "http+unix", "HTTP\t"]


def internal_urls(port: int) -> list[str]:
    """More than a hundred URLs that lead inside, to ``port`` where they can name one, or that no client should follow."""
    hosts = [spelling for address in INTERNAL for spelling in _v4(address)] + _NAMES + _V6 + _OTHERS + _USERS
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
