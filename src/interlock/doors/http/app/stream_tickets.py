"""Stream tickets: a credential for one stream, once, for clients that cannot send a header."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, JsonReply


class TicketBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``resource`` is the path of the stream that will be opened, as it will be asked for."""

    resource: Annotated[str, Meta(min_length=1, max_length=512)]


class TicketObject(msgspec.Struct, kw_only=True):
    """``expires_in`` is seconds."""

    ticket: str
    expires_in: int


async def create_ticket(call: Call[TicketBody, None]) -> Reply:
    """A ticket that opens this one stream once, with the caller's rights, within the minute."""
    issued = await call.services.access.tickets.issue(call.principal, call.body.resource)
    return JsonReply(TicketObject(ticket=issued.ticket, expires_in=issued.expires_in), status=201, headers=NO_STORE)
