"""The filter of system calls in front of users' code: a program of classic BPF, which bubblewrap loads.

What is refused is what ordinary code has no use for and the kernel was attacked through. A filter sees
the number of a call and its arguments, and cannot follow pointers: that is why ``clone3``, whose flags lie behind one,
is answered as by a kernel that has none, and libc uses ``clone``.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

NEWEST = 466
"""The newest call that this list was made with (Linux 6.13). Later ones are unknown here, and so are those of x32."""
NAMESPACES = 0x7E02_0000
"""The flags of clone(2) that make a namespace: mount, cgroup, uts, ipc, user, pid, net."""
FAMILIES = (1, 2, 10)
"""The families of sockets that there are: Unix, and both of the internet."""
_CLONE3 = 435
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _FAIL = 0x7FFF_0000, 0x0005_0000
_MOST = 255
"""Instructions that one jump can pass."""

_EVERYWHERE: Mapping[str, int] = MappingProxyType(
    {
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsconfig": 431,
        "fsmount": 432,
        "fspick": 433,
        "pidfd_getfd": 438,
        "process_madvise": 440,
        "mount_setattr": 442,
        "quotactl_fd": 443,
    }
)
_X86_64: Mapping[str, int] = MappingProxyType(
    {
        "ptrace": 101,
        "syslog": 103,
        "uselib": 134,
        "personality": 135,
        "ustat": 136,
        "sysfs": 139,
        "vhangup": 153,
        "modify_ldt": 154,
        "pivot_root": 155,
        "_sysctl": 156,
        "adjtimex": 159,
        "chroot": 161,
        "acct": 163,
        "settimeofday": 164,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "swapoff": 168,
        "reboot": 169,
        "sethostname": 170,
        "setdomainname": 171,
        "iopl": 172,
        "ioperm": 173,
        "create_module": 174,
        "init_module": 175,
        "delete_module": 176,
        "quotactl": 179,
        "nfsservctl": 180,
        "lookup_dcookie": 212,
        "clock_settime": 227,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "unshare": 272,
        "vmsplice": 278,
        "perf_event_open": 298,
        "fanotify_init": 300,
        "fanotify_mark": 301,
        "name_to_handle_at": 303,
        "open_by_handle_at": 304,
        "clock_adjtime": 305,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "finit_module": 313,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
        **_EVERYWHERE,
    }
)
_AARCH64: Mapping[str, int] = MappingProxyType(
    {
        "lookup_dcookie": 18,
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "nfsservctl": 42,
        "chroot": 51,
        "vhangup": 58,
        "quotactl": 60,
        "vmsplice": 75,
        "acct": 89,
        "personality": 92,
        "unshare": 97,
        "kexec_load": 104,
        "init_module": 105,
        "delete_module": 106,
        "clock_settime": 112,
        "syslog": 116,
        "ptrace": 117,
        "reboot": 142,
        "sethostname": 161,
        "setdomainname": 162,
        "settimeofday": 170,
        "adjtimex": 171,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "swapon": 224,
        "swapoff": 225,
        "perf_event_open": 241,
        "fanotify_init": 262,
        "fanotify_mark": 263,
        "name_to_handle_at": 264,
        "open_by_handle_at": 265,
        "clock_adjtime": 266,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "finit_module": 273,
        "bpf": 280,
        "userfaultfd": 282,
        "kexec_file_load": 294,
        **_EVERYWHERE,
    }
)


@dataclass(frozen=True)
class Abi:
    """How one kind of machine numbers its calls. ``audit`` is the kernel's name of it."""

    audit: int
    refused: Mapping[str, int]
    clone: int
    socket: int
    socketpair: int


ABIS: Mapping[str, Abi] = MappingProxyType(
    {
        "x86_64": Abi(0xC000_003E, _X86_64, clone=56, socket=41, socketpair=53),
        "aarch64": Abi(0xC000_00B7, _AARCH64, clone=220, socket=198, socketpair=199),
    }
)
"""The machines there is a filter for, as ``platform.machine`` names them."""


def filter_here() -> bytes | None:
    """The program for this machine, as ``bwrap --seccomp`` reads it; None where there is none."""
    abi = ABIS.get(platform.machine())
    return None if abi is None else program_of(abi)


def program_of(abi: Abi) -> bytes:
    """An array of ``struct sock_filter``. Refused calls answer EPERM; clone3 and unknown ones ENOSYS."""
    return b"".join(struct.pack("<HBBI", *each) for each in _instructions(abi))


def _instructions(abi: Abi) -> Sequence[tuple[int, int, int, int]]:
    allow, refuse, unknown = (
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
    )
    made: list[tuple[int, int, int, int]] = [
        *((_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, abi.audit), refuse),  # 32-bit calls on a 64-bit machine
        *((_LOAD, 0, 0, _NUMBER), (_GREATER, 0, 1, NEWEST), unknown),
        *((_EQUAL, 0, 1, _CLONE3), unknown),
        *((_EQUAL, 0, 4, abi.clone), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 0, 1, NAMESPACES), refuse, allow),
        *((_EQUAL, 1, 0, abi.socket), (_EQUAL, 0, len(FAMILIES) + 3, abi.socketpair)),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *((_EQUAL, len(FAMILIES) - place, 0, family) for place, family in enumerate(FAMILIES)),
        *(refuse, allow),
    ]
    numbers = sorted(abi.refused.values())
    if len(numbers) > _MOST:
        raise ValueError(f"{len(numbers)} calls are more than a jump can pass")
    made += [(_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    return [*made, allow, refuse]
