"""TLS to the stores: whose certificates are trusted, what is told of others, and where nothing is encrypted.

A server that was built with TLS is asked itself; else one of the tests' own stands before it.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from readmodel.errors import AccessRefused, StoreUnavailable
from readmodel.postgres.client import connect as connect_postgres
from readmodel.postgres.client import translated as postgres_translated
from readmodel.redis.client import connect as connect_redis
from readmodel.redis.client import translated as redis_translated
from readside.demo.embedded_postgres import EmbeddedPostgres, bundled_programs
from readside.demo.embedded_redis import EmbeddedRedis, find_program
from readside.demo.processes import free_port
from readside.demo.unprivileged import server_uid
from tests.support.certificates import Authority, ServerCertificate
from tests.support.commanding import Site
from tests.support.servers import program_from_environment, running_postgres, running_redis, server_directory
from tests.support.tls_front import LOOPBACK, tls_front


class Trust(NamedTuple):
    """The authority that signed the servers' certificate, which is for 127.0.0.1, and another one."""

    authority: Authority
    stranger: Authority
    certificate: ServerCertificate


@pytest.fixture(autouse=True)
def as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests turn off what a URL that says nothing asks for."""
    monkeypatch.delenv("PGSSLMODE")


@pytest.fixture(scope="module")
def trust() -> Iterator[Trust]:
    """Made once."""
    with server_directory() as directory:
        authority = Authority(directory)
        certificate = authority.server(LOOPBACK)
        uid = server_uid(directory / "no cluster")
        if uid is not None:
            os.chown(certificate.key, uid, -1)
        yield Trust(authority, Authority(directory, "stranger"), certificate)


def has_tls(program: Path) -> bool:
    """Whether a server was built with OpenSSL."""
    return b"SSL_CTX_new" in program.read_bytes()


@contextmanager
def redis_with_tls(trust: Trust) -> Iterator[str]:
    """Redis with TLS of its own; the URL."""
    port = str(free_port())
    files = ["--tls-cert-file", str(trust.certificate.certificate), "--tls-key-file", str(trust.certificate.key)]
    files += ["--tls-ca-cert-file", str(trust.authority.file), "--tls-auth-clients", "no"]
    with running_redis("--tls-port", port, *files) as server:
        yield f"rediss://:{server.password}@{LOOPBACK}:{port}/0"


@pytest.fixture(scope="module")
def own_redis(trust: Trust) -> Iterator[str | None]:
    """The URL of a Redis with TLS of its own, where that was built with it."""
    if not has_tls(program_from_environment("READSIDE_TEST_REDIS_SERVER") or find_program()):
        yield None
        return
    with redis_with_tls(trust) as url:
        yield url


@pytest.fixture(scope="module")
def own_postgres(trust: Trust) -> Iterator[str | None]:
    """The same of PostgreSQL."""
    if not has_tls((program_from_environment("READSIDE_TEST_POSTGRES_BIN") or bundled_programs()) / "postgres"):
        yield None
        return
    files = {"ssl_cert_file": str(trust.certificate.certificate), "ssl_key_file": str(trust.certificate.key)}
    with running_postgres(ssl="on", **files) as server:
        yield server.url()


@pytest.fixture
async def redis_with(trust: Trust, own_redis: str | None, redis_server: EmbeddedRedis) -> AsyncIterator[str]:
    """The rediss:// URL of a Redis with TLS."""
    if own_redis is not None:
        yield own_redis
        return
    await redis_server.start()
    async with tls_front(redis_server.url(), trust.certificate.context()) as port:
        yield f"rediss://:{redis_server.password}@{LOOPBACK}:{port}/0"


@pytest.fixture
async def postgres_with(
    trust: Trust, own_postgres: str | None, postgres_server: EmbeddedPostgres
) -> AsyncIterator[str]:
    """The URL of a PostgreSQL with TLS."""
    if own_postgres is not None:
        yield own_postgres
        return
    await postgres_server.start()
    async with tls_front(postgres_server.url(), trust.certificate.context()) as port:
        yield postgres_server.url().replace(f":{postgres_server.port}/", f":{port}/")


async def ask_redis(url: str) -> bool:
    """Say something to Redis; raises what readside makes of a failure."""
    redis = connect_redis(url, name="test")
    try:
        with redis_translated(redis):
            return bool(await redis.ping())
    finally:
        await redis.aclose()


async def ask_postgres(url: str) -> int:
    """The same of PostgreSQL."""
    connection = await connect_postgres(url, application_name="test")
    try:
        with postgres_translated(url):
            return int(await connection.fetchval("SELECT 1"))
    finally:
        await connection.close()


async def test_redis_of_a_private_authority(redis_with: str, trust: Trust) -> None:
    """Trusted where the URL names its file."""
    assert await ask_redis(f"{redis_with}?ssl_ca_certs={trust.authority.file}")


@pytest.mark.parametrize("named", ["nobody", "stranger"])
async def test_redis_of_an_authority_that_is_not_named(redis_with: str, trust: Trust, named: str) -> None:
    """Refused with what to do: neither no file nor another authority's will do."""
    query = "" if named == "nobody" else f"?ssl_ca_certs={trust.stranger.file}"

    with pytest.raises(AccessRefused) as caught:
        await ask_redis(redis_with + query)
    assert str(caught.value).startswith(f"Redis at {redis_with.rpartition('@')[2]} shows a certificate that cannot be ")
    assert str(caught.value).endswith(": ssl_ca_certs in the URL must name the file of its authority.")


async def test_redis_under_another_name(redis_with: str, trust: Trust) -> None:
    """Whoever has a certificate of the same authority could stand in its place."""
    with pytest.raises(AccessRefused) as caught:
        await ask_redis(f"{redis_with}?ssl_ca_certs={trust.authority.file}".replace(LOOPBACK, "localhost"))

    assert str(caught.value).endswith(": the URL must name the server as its certificate does.")


async def test_redis_that_speaks_tls_alone(redis_with: str) -> None:
    """No plain connection in its place."""
    with pytest.raises(StoreUnavailable, match=r"^Redis at .* does not answer: "):
        await ask_redis(redis_with.replace("rediss://", "redis://"))


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
async def test_postgres_of_a_private_authority(postgres_with: str, trust: Trust, mode: str) -> None:
    """Trusted where the URL names its file."""
    assert await ask_postgres(f"{postgres_with}?sslmode={mode}&sslrootcert={trust.authority.file}") == 1


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
async def test_postgres_of_an_authority_that_is_not_named(postgres_with: str, trust: Trust, mode: str) -> None:
    """Refused with what to do."""
    with pytest.raises(AccessRefused) as caught:
        await ask_postgres(f"{postgres_with}?sslmode={mode}&sslrootcert={trust.stranger.file}")

    assert str(caught.value).startswith(f"PostgreSQL at {postgres_with.rpartition('@')[2]} shows a certificate that ")
    assert str(caught.value).endswith(": sslrootcert in the URL must name the file of its authority.")


async def test_postgres_under_another_name(postgres_with: str, trust: Trust) -> None:
    """`verify-full` alone looks at the name."""
    url = f"{postgres_with}?sslrootcert={trust.authority.file}&sslmode=".replace(LOOPBACK, "localhost")

    assert await ask_postgres(f"{url}verify-ca") == 1
    with pytest.raises(AccessRefused) as caught:
        await ask_postgres(f"{url}verify-full")
    assert str(caught.value).endswith(": the URL must name the server as its certificate does.")


@pytest.mark.parametrize("mode", ["require", "prefer"])
async def test_postgres_that_nobody_vouches_for(postgres_with: str, mode: str) -> None:
    """These modes trust whoever answers, as operate/security.md says."""
    assert await ask_postgres(f"{postgres_with}?sslmode={mode}") == 1


@pytest.mark.parametrize("query", ["", "?sslmode=prefer"])
async def test_postgres_without_tls_is_asked_in_plain_text(database_url: str, query: str) -> None:
    """The default goes on silently, as operate/security.md says."""
    assert await ask_postgres(f"{database_url}{query}") == 1


@pytest.mark.parametrize("mode", ["require", "verify-full"])
async def test_postgres_without_tls_is_refused_where_tls_is_asked_for(
    database_url: str, trust: Trust, mode: str
) -> None:
    """Nothing is sent in plain text."""
    with pytest.raises(StoreUnavailable, match="rejected SSL upgrade"):
        await ask_postgres(f"{database_url}?sslmode={mode}&sslrootcert={trust.authority.file}")


async def test_commands_through_tls(redis_with: str, postgres_with: str, trust: Trust) -> None:
    """Every command reads its URLs alike; a certificate that is not trusted is one line."""
    site = Site.of(
        f"{postgres_with}?sslmode=verify-full&sslrootcert={trust.authority.file}",
        f"{redis_with}?ssl_ca_certs={trust.authority.file}",
    )
    trusted = await site.run("uninstall")
    status = await site.run("status")
    untrusted = await site.with_settings(REDIS_URL=redis_with).run("status")

    assert (trusted.code, trusted.out) == (0, "There was nothing to remove.\n")
    assert (status.code, status.err) == (2, "")
    assert "shows a certificate that cannot be trusted" in untrusted.refusal()


@pytest.mark.parametrize("mode", ["verify-full", "require", "prefer"])
async def test_the_doctor_says_what_came_of_it(redis_with: str, postgres_with: str, trust: Trust, mode: str) -> None:
    """On this machine any TLS will do; what is checked is told apart."""
    query = f"?sslmode={mode}" + (f"&sslrootcert={trust.authority.file}" if mode == "verify-full" else "")
    ended = await Site.of(postgres_with + query, f"{redis_with}?ssl_ca_certs={trust.authority.file}").run("doctor")
    checked = ", and the server's certificate is checked" if mode == "verify-full" else ""

    assert f"database TLS    ok       TLSv1.3{checked} (sslmode={mode})\n" in ended.out
    assert "Redis TLS       ok       TLS, and the server's certificate is checked\n" in ended.out


async def test_the_doctor_says_where_nothing_is_encrypted(database_url: str) -> None:
    """With what was asked for: the default falls back silently."""
    ended = await Site.of(database_url, "redis://127.0.0.1:1/0").run("doctor")

    assert "database TLS    ok       plain text, which does not leave this machine (no sslmode, which is " in ended.out
