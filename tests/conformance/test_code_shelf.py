"""The code shelf gives back what was put there, to its tenant, and nothing that was changed past the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.code_shelf import PostgresCodeShelf, digest_of
from interlock.backends.store.postgres.connection import EnginePool
from interlock.core.code import MAX_CODE
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import LOCAL_TENANT, Principal
from interlock.services.code.save import SaveCode

KEY = "the key of these tests, which is long enough"
KEYS = GivenKeys([KEY])
OTHERS = GivenKeys(["the key of another installation, long enough"])


@pytest.fixture(scope="module")
async def pool(database: Any) -> AsyncIterator[EnginePool]:
    pool = EnginePool(database.serve_url, 2)
    await pool.open()
    yield pool
    await pool.close()


@pytest.fixture
def shelf(pool: EnginePool) -> PostgresCodeShelf:
    return PostgresCodeShelf(pool.use, AesGcmSecrets(KEYS))


async def refusal(doing: Any) -> InterlockError:
    with pytest.raises(InterlockError) as refused:
        await doing
    return refused.value


async def test_code_comes_back_as_it_was_put(shelf: PostgresCodeShelf, tenant: Any) -> None:
    contents = [b"\0\xff pickle", "def ä(): pass".encode(), b"x" * MAX_CODE]
    for content in contents:
        digest = await shelf.put(tenant.tenant_id, "ann", "pickle", content)
        code = await shelf.get(tenant.tenant_id, digest)
        assert (code.digest, code.form, code.content, code.author) == (digest, "pickle", content, "ann")


async def test_the_same_twice_is_one_piece_even_at_once(shelf: PostgresCodeShelf, tenant: Any) -> None:
    digests = await asyncio.gather(*(shelf.put(tenant.tenant_id, f"a{n}", "source", b"same") for n in range(5)))
    assert set(digests) == {digest_of("source", b"same")}
    assert (await shelf.get(tenant.tenant_id, digests[0])).content == b"same"
    assert await shelf.put(tenant.tenant_id, "ann", "pickle", b"same") != digests[0]


async def test_another_tenants_code_is_not_there(shelf: PostgresCodeShelf, tenant: Any, new_tenant: Any) -> None:
    digest = await shelf.put(tenant.tenant_id, "ann", "source", b"mine")
    error = await refusal(shelf.get(new_tenant().tenant_id, digest))
    assert (error.kind, error.code) == (ErrorKind.NOT_FOUND, "CODE_NOT_FOUND")


async def test_more_than_8_mib_is_refused(shelf: PostgresCodeShelf, tenant: Any) -> None:
    error = await refusal(shelf.put(tenant.tenant_id, "ann", "source", b"x" * (MAX_CODE + 1)))
    assert (error.kind, error.message) == (ErrorKind.TOO_LARGE, "Code exceeds 8 MiB")


@pytest.mark.parametrize(
    "change", ["content = 'other'", "form = 'pickle'", "author = 'eve'", "seal = '\\x00'", "tenant_id = $1 || 'x'"]
)
async def test_what_was_changed_past_the_server_is_not_given_out(
    shelf: PostgresCodeShelf, tenant: Any, database: Any, change: str
) -> None:
    digest = await shelf.put(tenant.tenant_id, "ann", "source", b"print()")
    superuser = await asyncpg.connect(database.superuser_url)
    await superuser.execute(f"update interlock.code set {change} where tenant_id = $1", tenant.tenant_id)
    await superuser.close()
    where = tenant.tenant_id + ("x" if "tenant" in change else "")
    error = await refusal(shelf.get(where, digest))
    assert (error.kind, error.code) == (ErrorKind.RULE, "CODE_SEAL_BROKEN")


async def test_a_seal_of_another_installation_counts_for_nothing(
    shelf: PostgresCodeShelf, pool: EnginePool, tenant: Any
) -> None:
    digest = await PostgresCodeShelf(pool.use, AesGcmSecrets(OTHERS)).put(tenant.tenant_id, "eve", "source", b"x")
    assert (await refusal(shelf.get(tenant.tenant_id, digest))).code == "SECRET_KEY_UNKNOWN"


def caller(tenant_id: str, *scopes: str) -> Principal:
    return Principal(subject="ann", tenant_id=tenant_id, scopes=frozenset(scopes))


@pytest.mark.parametrize(
    ("scopes", "is_enabled", "has_sandbox", "kind", "code"),
    [
        (("code:write",), False, True, ErrorKind.DENIED, "AUTHORIZATION_FAILED"),
        (("workflows:write",), True, True, ErrorKind.DENIED, "AUTHORIZATION_FAILED"),
        (("code:write",), True, False, ErrorKind.UNAVAILABLE, "SANDBOX_UNAVAILABLE"),
    ],
)
async def test_code_is_taken_only_where_it_may_run(
    shelf: PostgresCodeShelf, scopes: Any, is_enabled: Any, has_sandbox: Any, kind: Any, code: Any
) -> None:
    save = SaveCode(shelf, is_enabled=is_enabled, has_sandbox=has_sandbox)
    error = await refusal(save(caller(LOCAL_TENANT, *scopes), "source", b"def f(p): ..."))
    assert (error.kind, error.code) == (kind, code)


async def test_saved_code_has_its_author(shelf: PostgresCodeShelf, tenant: Any) -> None:
    save = SaveCode(shelf, is_enabled=True, has_sandbox=True)
    digest = await save(caller(tenant.tenant_id, "code:write"), "source", b"def f(p): ...")
    assert (await shelf.get(tenant.tenant_id, digest)).author == "ann"
    assert (await refusal(save(caller(tenant.tenant_id, "code:write"), "source", b""))).code == "CODE_EMPTY"


async def test_seals_are_made_anew_and_the_old_key_is_needed_no_longer(pool: EnginePool, tenant: Any) -> None:
    old, new = "an old key of these tests, long enough", "a new key of these tests, also long enough"
    digest = await PostgresCodeShelf(pool.use, AesGcmSecrets(GivenKeys([old]))).put(
        tenant.tenant_id, "ann", "source", b"print()"
    )
    both = PostgresCodeShelf(pool.use, AesGcmSecrets(GivenKeys([new, old])))
    alone = PostgresCodeShelf(pool.use, AesGcmSecrets(GivenKeys([new])))
    assert (await refusal(alone.get(tenant.tenant_id, digest))).code == "SECRET_KEY_UNKNOWN"
    assert await both.reseal() >= 1
    assert await both.reseal() == 0
    assert (await alone.get(tenant.tenant_id, digest)).author == "ann"


async def test_a_broken_seal_is_not_mended_by_sealing_anew_but_by_saving_again(
    shelf: PostgresCodeShelf, pool: EnginePool, tenant: Any, database: Any
) -> None:
    digest = await shelf.put(tenant.tenant_id, "ann", "source", b"mine")
    superuser = await asyncpg.connect(database.superuser_url)
    await superuser.execute("update interlock.code set author = 'eve' where tenant_id = $1", tenant.tenant_id)
    await superuser.close()
    newer = PostgresCodeShelf(pool.use, AesGcmSecrets(GivenKeys(["a newer key of these tests, long", KEY])))
    await newer.reseal()
    assert (await refusal(newer.get(tenant.tenant_id, digest))).code == "CODE_SEAL_BROKEN"
    assert await newer.put(tenant.tenant_id, "bob", "source", b"mine") == digest
    assert (await newer.get(tenant.tenant_id, digest)).author == "bob"
