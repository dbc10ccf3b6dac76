"""Whose budget is meant: an API key by either of its ids, a person, or the tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from interlock.core.api_key import ApiKey
from interlock.core.errors import ErrorKind, InterlockError, not_found
from interlock.core.principal import Principal
from interlock.services.access.tenants import LOCAL_SUBJECT

TENANT = "tenant"
"""How the tenant's own budget is named."""
PERSON = "user:"
"""What stands before the subject of a person whom another issuer knows."""

FindKey = Callable[[Principal, str], Awaitable[ApiKey | None]]
NameKeys = Callable[[Principal], Awaitable[Mapping[UUID, str]]]
FindPerson = Callable[[Principal, str], Awaitable[UUID]]


class FindHolders:
    """Knows the holders of the caller's tenant. Without ``find_person`` people log in elsewhere.

    ``find_person`` raises NOT_FOUND for an id or an address that no account of the tenant has.
    """

    def __init__(self, find_key: FindKey, name_keys: NameKeys, find_person: FindPerson | None) -> None:
        self._find_key = find_key
        self._name_keys = name_keys
        self._find_person = find_person

    async def find(self, principal: Principal, reference: str) -> str:
        """The holder as budgets know it, empty for the tenant. Raises HOLDER_NOT_FOUND."""
        if reference == TENANT:
            return ""
        key = await self._find_key(principal, reference)
        if key is not None:
            return str(key.payer_id)
        person = reference.removeprefix(PERSON)
        if person == LOCAL_SUBJECT:
            return person
        if self._find_person is not None:
            return await self._account(self._find_person, principal, person)
        if reference.startswith(PERSON) and person:
            return person
        raise _unknown(reference, f", or {PERSON}SUBJECT for a person of your issuer")

    async def name_keys(self, principal: Principal) -> Mapping[str, str]:
        """The public ids of the tenant's keys by what budgets call their holder."""
        return {str(key_id): public_id for key_id, public_id in (await self._name_keys(principal)).items()}

    async def _account(self, find_person: FindPerson, principal: Principal, reference: str) -> str:
        try:
            return str(await find_person(principal, reference))
        except InterlockError as error:
            if error.kind is ErrorKind.NOT_FOUND:
                raise _unknown(reference, ", or the id or e-mail address of an account") from None
            raise


def _unknown(reference: str, otherwise: str) -> InterlockError:
    message = (
        f"There is no API key and no person {reference[:64]} here; name {TENANT}, an API key by its id or public id"
        f"{otherwise}"
    )
    return not_found("HOLDER_NOT_FOUND", message, field="holder")
