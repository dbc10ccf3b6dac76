"""The settings about people: who issues their tokens, and what the built-in directory does."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

_MAIL = ("smtp", "smtps")


def _named(name: str, *others: str) -> AliasChoices:
    """Under our prefix, and under the names that it has elsewhere."""
    return AliasChoices(f"INTERLOCK_{name}", name, *others)


class IdentitySettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    supabase_url: str | None = Field(
        None,
        validation_alias=_named("SUPABASE_URL"),
        description="Supabase project that people log in to, such as `https://REF.supabase.co`; empty: the directory "
        "that is built in.",
    )
    supabase_anon_key: SecretStr | None = Field(
        None,
        validation_alias=_named("SUPABASE_ANON_KEY"),
        description="Public key of that project; it is asked with it whether an address is confirmed.",
    )
    supabase_secret_key: SecretStr | None = Field(
        None,
        validation_alias=_named("SUPABASE_SECRET_KEY"),
        description="Used in place of the public key if that is missing; never for data.",
    )
    supabase_jwt_secret: SecretStr | None = Field(
        None,
        validation_alias=_named("SUPABASE_JWT_SECRET"),
        description="Legacy secret of a project that still signs with HS256; empty: its public keys are fetched.",
    )
    jwt_issuer: str | None = Field(
        None,
        validation_alias=_named("JWT_ISSUER"),
        description="Issuer whose tokens are taken; default: that of the Supabase project, else `interlock`.",
    )
    jwt_audience: str = Field(
        "authenticated",
        validation_alias=_named("JWT_AUDIENCE"),
        description="Audience that tokens must name.",
    )
    jwks_url: str | None = Field(
        None,
        validation_alias=_named("JWKS_URL"),
        description="Public keys of the issuer; default: those of the Supabase project.",
    )
    jwt_secret_key: SecretStr | None = Field(
        None,
        validation_alias=_named("JWT_SECRET_KEY", "SECRET_KEY"),
        description="HS256 key of the built-in directory: 32 random characters or more, the same for all replicas. "
        "Needed outside local mode, which makes ES256 keys in the data directory. With an issuer that is not Supabase: "
        "that issuer's secret.",
    )
    jwt_algorithm: Literal["ES256", "RS256", "HS256"] | None = Field(
        None,
        validation_alias=_named("JWT_ALGORITHM", "ALGORITHM"),
        description="The one algorithm of the issuer; default: HS256 with a secret, else ES256 and RS256 by its keys.",
    )
    allow_guests: bool = Field(
        False,
        validation_alias=_named("ALLOW_GUESTS"),
        description="Take tokens of people whom the issuer calls anonymous.",
    )
    local_tokens: bool | None = Field(
        None,
        description="Take tokens that `interlock token` and the commands sign with a key in the data directory; "
        "default: in local mode, and where people log in to the directory that is built in.",
    )
    auto_confirm_email: bool | None = Field(
        None,
        validation_alias=_named("AUTO_CONFIRM_EMAIL"),
        description="New accounts of the built-in directory count at once; default: in local mode only.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        validation_alias=_named("SMTP_URL"),
        description="Mail server that sends new accounts a link to confirm their address: "
        "`smtp://USER:PASSWORD@HOST:587?from=ADDRESS`, or `smtps://`; empty: an administrator confirms them.",
    )

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            address = urlsplit(value.get_secret_value()) if value is not None else None
            is_good = address is None or (address.scheme in _MAIL and bool(address.hostname) and address.port != 0)
        except ValueError:  # its text may quote a part of the password
            is_good = False
        if not is_good:
            raise ValueError("is no address of a mail server; write it like smtp://USER:PASSWORD@HOST:587?from=ADDRESS")
        return value
