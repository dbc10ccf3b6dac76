"""What hostile code tries in a sandbox, wherever that is (acceptance I3), and what it is told of the machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

CANARY = "canary-that-no-code-may-see"
CORPUS = r"""
import ctypes, fcntl, os, signal, socket, subprocess, sys, termios

def outcome(attack):
    try:
        return repr(attack())
    except BaseException as error:
        return "refused: " + type(error).__name__

def connect(address, family=socket.AF_INET):
    with socket.socket(family) as file:
        file.settimeout(1)
        file.connect(address)
        return "reached"

def libc(name, *args):
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*args) == -1:
        raise OSError(ctypes.get_errno(), name)
    return "done"

def kill_all_but_us():
    before = [x for x in os.listdir("/proc") if x.isdigit()]
    os.kill(-1, 0)
    raise PermissionError(f"nobody but {before} is here")

def descriptors():
    links = [f"/proc/self/fd/{x}" for x in os.listdir("/proc/self/fd")]
    names = [os.readlink(x) for x in links if os.path.lexists(x)]
    sockets = [x for x in names if x.startswith("socket:")]
    if len(sockets) > 3:  # that to the server, and the two by which an event loop wakes itself
        return sockets
    files = [x for x in names if x.startswith("/") and not x.startswith(("/proc", "/dev/null", "/tmp/work"))]
    if not files:
        raise LookupError
    return files

def escape_by_descriptor(path):
    folder = os.open("/", os.O_RDONLY)
    try:
        return os.open("../../../.." + path, os.O_RDONLY, dir_fd=folder)
    finally:
        os.close(folder)

def fill_with_processes():
    children = []
    try:
        for _ in range(5000):
            children.append(subprocess.Popen(["sleep", "60"]))
    finally:
        for child in children:
            child.kill()
            child.wait()

def devices():
    os.mknod("/tmp/work/disk", 0o600 | 0o060000, os.makedev(8, 0))
    return open("/tmp/work/disk", "rb").read(1)

def cgroup():
    for root, folders, files in os.walk("/sys"):
        return root, folders, files
    raise FileNotFoundError

def attack(params):
    server = params["server"]
    attacks = {
        "shadow": lambda: open("/etc/shadow").read(),
        "users": lambda: open("/etc/passwd").read(),
        "file of the host": lambda: open(params["file"]).read(),
        "folder of the host": lambda: os.listdir(os.path.dirname(params["file"])),
        "by the root of init": lambda: open("/proc/1/root" + params["file"]).read(),
        "by a link": lambda: (os.symlink(params["file"], "link"), open("link").read()),
        "by a descriptor": lambda: escape_by_descriptor(params["file"]),
        "home of the host": lambda: open("/root/.bashrc").read(),
        "write the system": lambda: open("/usr/x", "w"),
        "write python": lambda: open(os.path.join(os.path.dirname(os.__file__), "x.py"), "w"),
        "write packages": lambda: open(os.path.join(sys.prefix, "x.pth"), "w"),
        "write the root": lambda: open("/x", "w"),
        "write devices": lambda: open("/dev/x", "w"),
        "sysctl": lambda: open("/proc/sys/kernel/core_pattern", "a"),
        "interrupts": lambda: open("/proc/irq/default_smp_affinity", "a"),
        "sysrq": lambda: open("/proc/sysrq-trigger", "w"),
        "memory of the kernel": lambda: open("/proc/kcore", "rb").read(1),
        "memory of the machine": lambda: open("/dev/mem", "rb").read(1),
        "cgroups": cgroup,
        "make a device": devices,
        "port of the host": lambda: connect(("127.0.0.1", params["port"])),
        "port of the host, version 6": lambda: connect(("::1", params["port"]), socket.AF_INET6),
        **{f"port of the {x}": lambda port=port: connect(("127.0.0.1", port)) for x, port in params["ports"].items()},
        "metadata": lambda: connect(("169.254.169.254", 80)),
        "names": lambda: socket.getaddrinfo("example.com", 80),
        "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "abstract socket": lambda: connect("\0" + params["abstract"], socket.AF_UNIX),
        "socket of the host": lambda: connect(params["socket"], socket.AF_UNIX),
        "signal the server": lambda: os.kill(server, signal.SIGKILL),
        "signal everybody": kill_all_but_us,
        "trace the server": lambda: libc("ptrace", 16, server, 0, 0),
        "memory of the server": lambda: open(f"/proc/{server}/mem", "rb"),
        "files of the server": descriptors,
        "terminal of the server": lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"),
        "mount": lambda: libc("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "remount": lambda: libc("mount", b"none", b"/", None, 32, None),
        "unshare": lambda: libc("unshare", 0x10000000),
        "enter": lambda: libc("setns", os.open("/proc/1/ns/net", os.O_RDONLY), 0),
        "become root": lambda: os.setuid(0),
        "chroot": lambda: os.chroot("/tmp"),
        "pivot": lambda: libc("syscall", 155, b"/tmp", b"/tmp"),
        "load a module": lambda: libc("syscall", 175, None, 0, b""),
        "turn the clock": lambda: __import__("time").clock_settime(0, 0),
        "restart the machine": lambda: libc("reboot", 0x1234567),
        "go first": lambda: os.nice(-5),
        "open for ever": lambda: [open("/dev/null") for _ in range(1_000_000)],
        "start for ever": fill_with_processes,
        "host name": lambda: socket.sethostname("x"),
    }
    seen = {name: outcome(attack) for name, attack in attacks.items()}
    return {"seen": seen, "environment": dict(os.environ), "processes": [x for x in os.listdir("/proc") if x.isdigit()]}
"""
_ENVIRONMENT = {
    *("PATH", "LANG", "HOME", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"),
    *("INTERLOCK_RUN_ID", "INTERLOCK_TASK_ID", "INTERLOCK_ATTEMPT", "INTERLOCK_EFFECT_KEY"),
    *("INTERLOCK_EFFECT_KEYS", "TRACEPARENT", "CUDA_VISIBLE_DEVICES"),
}


@contextmanager
def machine_to_attack(folder: Path, **ports: int) -> Iterator[dict[str, Any]]:
    """The arguments of the corpus: a file, sockets of all kinds that listen, and this process; ``ports`` are more."""
    secret = folder / "secret"
    secret.write_text(CANARY)
    abstract = f"interlock-test-{os.getpid()}"
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        if socket.has_dualstack_ipv6():
            stack.enter_context(socket.create_server(("::1", port), family=socket.AF_INET6))
        for name in ("\0" + abstract, str(folder / "socket")):
            unix = stack.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(name)
            unix.listen()
        given = {"server": os.getpid(), "file": str(secret), "port": port, "ports": ports}
        yield given | {"abstract": abstract, "socket": str(folder / "socket")}


def refused_all(output: Any) -> int:
    """How many attacks of the corpus there were; fails unless each was refused and nothing was to be seen."""
    assert isinstance(output, dict), output
    got = {name: told for name, told in output["seen"].items() if not told.startswith("refused")}
    assert not got, got
    assert output["processes"] == ["1", "2"], output["processes"]
    assert CANARY not in repr(output)
    assert set(output["environment"]) - {"PWD"} == _ENVIRONMENT, output["environment"]
    return len(output["seen"])
