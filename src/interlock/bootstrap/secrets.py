"""Which keys seal the stored secrets: those of the setting, else those of the data directory."""

from __future__ import annotations

from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.secrets.key_file import KeyFile
from interlock.config import Settings
from interlock.kit.clock import Clock


def open_secrets(settings: Settings, clock: Clock) -> AesGcmSecrets:
    """The secrets of this server. Raises UNAVAILABLE if its file of keys cannot be used."""
    if settings.encryption_key is not None:
        return AesGcmSecrets(GivenKeys(settings.encryption_key.get_secret_value().split(",")))
    keys = KeyFile(settings.data_dir, clock)
    keys.open()
    return AesGcmSecrets(keys)
