"""Which keys seal the stored secrets, and which values of the settings no log line may show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.secrets.key_file import KeyFile
from interlock.config import Settings
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock, SystemClock


def open_secrets(settings: Settings, clock: Clock) -> AesGcmSecrets:
    """The secrets of this server, sealed by the keys of the setting, else of the data directory.

    Raises UNAVAILABLE if the file of keys there cannot be used.
    """
    if settings.encryption_key is not None:
        return AesGcmSecrets(GivenKeys(settings.encryption_key.get_secret_value().split(",")))
    keys = KeyFile(settings.data_dir, clock)
    keys.open()
    return AesGcmSecrets(keys)


def encryption_keys(settings: Settings, *, rotate: bool) -> list[str]:
    """The ids of the keys in the data directory, the newest last, which ``rotate`` makes.

    Raises RULE if the keys come from the setting, and UNAVAILABLE if their file cannot be used.
    """
    if settings.encryption_key is not None:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_ENCRYPTION_KEY",
            "The keys come from INTERLOCK_ENCRYPTION_KEY and not from the data directory",
            details={"next": "Put a new key before the old one there, with a comma between them, and start again."},
        )
    keys = KeyFile(settings.data_dir, SystemClock())
    keys.open()
    if rotate:
        keys.rotate()
    return keys.key_ids()


def known_secrets(settings: Settings) -> set[str]:
    """Every secret value of the settings, whole and in its parts: passwords of addresses, keys of lists and objects."""
    return {part for name in type(settings).model_fields for part in _parts_of(getattr(settings, name))}


def _parts_of(value: Any) -> Iterator[str]:
    """The secrets in a setting; what is not declared as secret has none."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _parts_of(item)
    elif isinstance(value, SecretStr):
        yield from _parts_of_text(value.get_secret_value())


def _parts_of_text(text: str) -> Iterator[str]:
    if "://" in text:
        password = _password_of(text)
        yield from (text, password, unquote(password)) if password else (text,)
    elif text.lstrip().startswith(("{", "[")):
        yield text
        yield from _leaves(text)
    else:
        yield from (text, *map(str.strip, text.split(",")))


def _password_of(address: str) -> str | None:
    try:
        return urlsplit(address).password
    except ValueError:  # it is refused where it is used
        return None


def _leaves(text: str) -> Iterator[str]:
    """All texts of a JSON document and the names in it; one that cannot be read is refused elsewhere."""
    try:
        waiting = [json.loads(text)]
    except ValueError:
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((*value, *value.values()))
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            yield value
