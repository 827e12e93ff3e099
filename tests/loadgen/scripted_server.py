"""Servers that say exactly what the test wants, byte by byte."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from loadgen.transport import Endpoint, parse_endpoint

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class ScriptedServer:
    """Runs one function per accepted connection, in order; counts connections."""

    def __init__(
        self,
        *scripts: Callable[[socket.socket], None],
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.accepted = 0
        self._closed = threading.Semaphore(0)
        self._scripts = scripts
        self._context = context
        self._host = f"[{host}]" if ":" in host else host
        self._listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, reuse_port=False
        )
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def endpoint(self) -> Endpoint:
        return parse_endpoint(f"{'https' if self._context else 'http'}://{self._host}:{self.port}")

    def _run(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            with connection:
                connection.settimeout(60)
                try:
                    if self._context is not None:
                        connection = self._context.wrap_socket(connection, server_side=True)
                    script(connection)
                except OSError:
                    pass
                finally:
                    connection.close()
                    self._closed.release()

    def wait_for_close(self) -> None:
        """Until one more connection is closed."""
        assert self._closed.acquire(timeout=60)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        received = connection.recv(4096)
        if not received:
            raise OSError("closed")
        data += received
    return data


def answer(*pieces: bytes) -> Callable[[socket.socket], None]:
    """Answer one request with these pieces, each in a packet of its own, then close."""

    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_request(connection)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.01)

    return script


def answer_all(connection: socket.socket) -> None:
    while True:
        read_request(connection)
        connection.sendall(OK)


def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def write_certificate(path: Path) -> None:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + signed.public_bytes(Encoding.PEM))
