"""Keeps attempts away from servers that fail all the time: each tenant from each server, in this process."""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import urlsplit

from interlock.core.circuit import FAILURES, Circuit
from interlock.core.errors import ErrorKind, InterlockError
from interlock.ports.egress import ASKER, Egress, EgressResponse

OPEN = "CIRCUIT_OPEN"
"""Code of the refusal of a call to a server that is left alone now."""
_PASSING = frozenset((408, 429))
_KEPT = 10_000


class Circuits:
    """The circuits of one executor. Those of servers that are well are forgotten."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], Circuit] = OrderedDict()

    def find(self, tenant_id: str, origin: str) -> Circuit:
        """What is known of a server, or a new circuit."""
        return self._open.get((tenant_id, origin)) or Circuit()

    def keep(self, tenant_id: str, origin: str, circuit: Circuit) -> None:
        """Remember it as long as it is not well."""
        if circuit.is_well:
            self._open.pop((tenant_id, origin), None)
            return
        self._open[tenant_id, origin] = circuit
        if len(self._open) > _KEPT:
            self._open.popitem(last=False)


class CircuitEgress:
    """Satisfies ``ports/egress.Egress`` for one tenant, over another one.

    A call to a server that has failed ``FAILURES`` times in a row is refused with EXTERNAL ``CIRCUIT_OPEN``, which is
    retryable and whose ``retry_after`` (in ``details``, too) says when. Failures are 408, 429, 5xx, and what is
    retryable.
    """

    def __init__(self, egress: Egress, circuits: Circuits, tenant_id: str) -> None:
        self._egress = egress
        self._circuits = circuits
        self._tenant_id = tenant_id

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
        max_bytes: int,
        follow_redirects: bool = False,
    ) -> EgressResponse:
        """Make one call as the port promises, unless the server is left alone."""
        origin = _origin(url)
        circuit = self._circuits.find(self._tenant_id, origin)
        wait = circuit.refused_for(time.monotonic(), random.random())
        if wait:
            raise _refusal(origin, wait)
        asker = ASKER.set(self._tenant_id)
        try:
            answer = await self._egress.request(
                method,
                url,
                headers=headers,
                body=body,
                timeout=timeout,
                max_bytes=max_bytes,
                follow_redirects=follow_redirects,
            )
        except InterlockError as error:
            self._note(origin, is_failure=error.retryable)
            raise
        except BaseException:
            circuit.left()
            raise
        finally:
            ASKER.reset(asker)
        self._note(origin, is_failure=answer.status >= 500 or answer.status in _PASSING)
        return answer

    def _note(self, origin: str, *, is_failure: bool) -> None:
        circuit = self._circuits.find(self._tenant_id, origin)
        if is_failure:
            circuit.failed(time.monotonic())
        else:
            circuit.succeeded()
        self._circuits.keep(self._tenant_id, origin, circuit)


def _origin(url: str) -> str:
    """Scheme, host and port; whatever else for what is no URL, which the egress will refuse."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()


def _refusal(origin: str, wait: float) -> InterlockError:
    message = (
        f"The server {origin[:200]} has failed {FAILURES} times in a row and is left alone; ask again in {wait:.1f} s"
    )
    return InterlockError(
        ErrorKind.EXTERNAL, OPEN, message, details={"retry_after": round(wait, 3)}, retryable=True, retry_after=wait
    )
