"""A server of key sets on loopback, which behaves as it is told, and well only if told so."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from readmodel.runtime.supervise import end

LOOPBACK = "127.0.0.1"
DRIP_SECONDS = 0.005

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class JwksServer:
    """Answers each request by `behaviour`; `requests` are the heads that came."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[bytes] = []
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        task = asyncio.create_task(self._answer(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def close(self) -> None:
        """Answer nobody any more."""
        await end(list(self._serving))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await self.behaviour(writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def jwks_server(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[JwksServer]:
    """Run one for as long as the block lasts."""
    serving = JwksServer(behaviour)
    server = await asyncio.start_server(serving.serve, LOOPBACK, 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    serving.url = f"{'https' if tls else 'http'}://{LOOPBACK}:{port}/keys/jwks.json?of=readside"
    try:
        yield serving
    finally:
        server.close()
        await serving.close()


def answering(document: bytes, status: str = "200 OK", *fields: str) -> Behaviour:
    """Answer with this body."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        head = "".join(f"{field}\r\n" for field in (*fields, f"Content-Length: {len(document)}"))
        writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + document)
        await writer.drain()

    return behave


def in_chunks(document: bytes) -> Behaviour:
    """Answer in chunks of a few bytes."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        pieces = [document[start : start + 7] for start in range(0, len(document), 7)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n")
        await writer.drain()

    return behave


def saying(said: bytes) -> Behaviour:
    """Say exactly this, and close."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    return behave


async def hanging(writer: asyncio.StreamWriter) -> None:
    """Take the request, and never say anything."""
    await asyncio.Event().wait()


def dripping(beginning: bytes) -> Behaviour:
    """Begin so, then send a letter now and then, for as long as somebody reads."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)

    return behave


class Authority(NamedTuple):
    """A private CA: its certificate's file, and what a server of it on loopback speaks TLS with."""

    certificate: Path
    server: ssl.SSLContext


def private_authority(directory: Path) -> Authority:
    """Make one, and a certificate of it for loopback."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    key, now = new_ec_key(SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .sign(key, SHA256())
    )
    file, private = directory / "ca.pem", directory / "key.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, private)
    return Authority(file, context)
