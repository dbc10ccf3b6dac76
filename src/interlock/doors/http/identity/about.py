"""What clients ask before anybody has logged in: is it there, what can it do, which keys does it sign with."""

from __future__ import annotations

from interlock.doors.http.identity.people import directory_of
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, VARY, JsonReply

_KEYS_KEPT = ((b"cache-control", b"public, max-age=600"), VARY)
_PROVIDERS = (
    "anonymous_users",
    "phone",
    "apple",
    "azure",
    "bitbucket",
    "discord",
    "facebook",
    "github",
    "gitlab",
    "google",
    "keycloak",
    "linkedin",
    "notion",
    "slack",
    "spotify",
    "twitch",
    "twitter",
    "workos",
    "zoom",
)


async def health(call: Call[None, None]) -> Reply:
    """That it answers."""
    directory_of(call)
    answer = {
        "name": "interlock",
        "version": call.context.settings.version,
        "description": "The built-in user directory of Interlock",
    }
    return JsonReply(answer, headers=NO_STORE)


async def settings(call: Call[None, None]) -> Reply:
    """How one can log in: with e-mail and password."""
    own_accounts = directory_of(call).own_accounts
    answer = {
        "external": {"email": True, **dict.fromkeys(_PROVIDERS, False)},
        "disable_signup": False,
        "mailer_autoconfirm": own_accounts.confirms_at_once,
        "phone_autoconfirm": False,
        "sms_provider": "",
        "saml_enabled": False,
    }
    return JsonReply(answer, headers=NO_STORE)


async def public_keys(call: Call[None, None]) -> Reply:
    """The public keys that tokens of this server are signed with."""
    return JsonReply({"keys": directory_of(call).tokens.public_keys()}, headers=_KEYS_KEPT)
