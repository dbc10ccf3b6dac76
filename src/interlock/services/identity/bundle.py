"""The use cases of the built-in directory, as the doors get them."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.access_tokens import AccessTokens
from interlock.ports.accounts import Accounts
from interlock.ports.passwords import Passwords
from interlock.services.identity.administer import AdministerAccounts
from interlock.services.identity.confirm import ConfirmAddresses
from interlock.services.identity.log_in import LogIn
from interlock.services.identity.own_account import OwnAccounts


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryServices:
    """What can be asked of the directory; a server whose people log in elsewhere has none."""

    log_in: LogIn
    own_accounts: OwnAccounts
    administer: AdministerAccounts
    tokens: AccessTokens
    confirm: ConfirmAddresses | None


def build_directory(
    accounts: Accounts,
    passwords: Passwords,
    tokens: AccessTokens,
    clock: Clock,
    ids: Ids,
    *,
    confirms_at_once: bool,
    confirm: ConfirmAddresses | None = None,
) -> DirectoryServices:
    """The use cases over these parts. Without ``confirm`` no mail is sent."""
    own_accounts = OwnAccounts(
        accounts, passwords, tokens, clock, ids, confirms_at_once=confirms_at_once, confirm=confirm
    )
    return DirectoryServices(
        log_in=LogIn(accounts, passwords, tokens, clock, ids),
        own_accounts=own_accounts,
        administer=AdministerAccounts(accounts, passwords, clock, ids),
        tokens=tokens,
        confirm=confirm,
    )
