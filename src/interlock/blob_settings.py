"""The settings about large values: where they are kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from interlock.backends.blobs.s3.place import read_place


class BlobSettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    blobs_dir: Path | None = Field(
        None,
        description="Folder for large values (above 60 KiB). Empty: `blobs` in the data directory with the embedded "
        "database, else the database itself.",
    )
    blobs_dir_is_shared: bool = Field(
        False, description="All servers on the database see the same `INTERLOCK_BLOBS_DIR`, as on a network volume."
    )
    blobs_url: str | None = Field(
        None,
        description="Bucket for large values instead of a folder, of S3 or a store that speaks like it: "
        "`s3://BUCKET/PREFIX?region=REGION`, elsewhere than at AWS with `&endpoint=https://HOST`; "
        "`&style=host` puts the bucket before the host there, `path` behind it (the default).",
    )
    blobs_access_key_id: str | None = Field(None, description="Whose keys open the bucket of `INTERLOCK_BLOBS_URL`.")
    blobs_secret_access_key: SecretStr | None = Field(
        None, description="The secret of `INTERLOCK_BLOBS_ACCESS_KEY_ID`."
    )
    blobs_session_token: SecretStr | None = Field(
        None, description="The token beside it, where the store has given one that ends."
    )

    @field_validator("blobs_url")
    @classmethod
    def _check_blobs_url(cls, value: str | None) -> str | None:
        if value is not None:
            read_place(value)
        return value

    def blob_problems(self) -> list[str]:
        """What of these settings does not go together, one sentence each."""
        problems = []
        if self.blobs_url is not None and self.blobs_dir is not None:
            problems.append("INTERLOCK_BLOBS_URL and INTERLOCK_BLOBS_DIR name two places; leave one of them out")
        keys = (self.blobs_access_key_id, self.blobs_secret_access_key)
        if self.blobs_url is not None and None in keys:
            problems.append(
                "INTERLOCK_BLOBS_URL needs INTERLOCK_BLOBS_ACCESS_KEY_ID and INTERLOCK_BLOBS_SECRET_ACCESS_KEY"
            )
        return problems
