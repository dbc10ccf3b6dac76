"""The load client for systems behind HTTP: its own process, so that its CPU is reported apart.

usage: python -m benchmarks.load JOB, where JOB is the JSON of a `Job`.
"""

from __future__ import annotations

import sys

import msgspec
import uvloop

from benchmarks.drive import Shape, WrongAnswer, drive
from benchmarks.http1 import Connection, ConnectionGone

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Job(msgspec.Struct, frozen=True):
    """One POST to a server on this machine, repeated: where it goes, what it sends, and what the answer must hold.

    A dict in `expected` names fields the answer must have with these values (more are fine); anything else must be
    equal.
    """

    port: int
    path: str
    body: msgspec.Raw
    expected: object
    headers: dict[str, str]
    shape: Shape


class Caller:
    """Runs the job's request on a free keep-alive connection and checks the answer."""

    def __init__(self, job: Job) -> None:
        self._job, self._body = job, bytes(job.body)
        self._free: list[Connection] = []

    async def run_one(self) -> None:
        """One request. WrongAnswer if it is refused, cut off or answered otherwise than expected."""
        connection = await self._take()
        try:
            status, body = await connection.post(self._job.path, self._body)
        except ConnectionGone as gone:
            raise WrongAnswer(str(gone)) from gone
        self._free.append(connection)
        if status != 200 or not holds(body, self._job.expected):
            raise WrongAnswer(f"status {status}, expected 200 with {self._job.expected!r}, got {body[:1000]!r}")

    def close(self) -> None:
        """Give up the connections that are free."""
        while self._free:
            self._free.pop().close()

    async def _take(self) -> Connection:
        while self._free:
            if not (connection := self._free.pop()).closed:
                return connection
        try:
            return await Connection.open(self._job.port, self._job.headers)
        except OSError as error:
            raise WrongAnswer(f"cannot connect: {error}") from error


def holds(body: bytes, expected: object) -> bool:
    """Whether a JSON answer is as expected (see Job). Fields nobody asked for are not decoded."""
    try:
        if not isinstance(expected, dict):
            return bool(msgspec.json.decode(body) == expected)
        fields = _decode_fields(body)
        return all(name in fields and msgspec.json.decode(fields[name]) == value for name, value in expected.items())
    except msgspec.DecodeError:
        return False


def main() -> None:
    """Run the job given on the command line."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    uvloop.run(drive(Caller(job).run_one, job.shape))


if __name__ == "__main__":
    main()
