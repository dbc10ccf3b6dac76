"""Stream tickets: a credential for one stream, once, for clients that cannot send a header."""

from __future__ import annotations

import msgspec

from interlock.doors.http.plumbing.credentials import ends_at
from interlock.doors.http.plumbing.described import StreamPath
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, JsonReply


class TicketBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``resource`` is the path of the stream that will be opened, as it will be asked for."""

    resource: StreamPath


class TicketObject(msgspec.Struct, kw_only=True):
    """``expires_in`` is seconds."""

    ticket: str
    expires_in: int


async def create_ticket(call: Call[TicketBody, None]) -> Reply:
    """A ticket that opens this one stream once, with the caller's rights, within the minute."""
    tickets, credential = call.services.access.tickets, call.credential
    issued = await tickets.issue(call.principal, call.body.resource, credential, ends_at(credential))
    call.acts_on(call.body.resource)  # only now: an address that is refused may hold a credential
    return JsonReply(TicketObject(ticket=issued.ticket, expires_in=issued.expires_in), status=201, headers=NO_STORE)
