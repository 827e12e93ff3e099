"""nginx on one core, answering 200 with a small JSON body: a target that costs next to nothing, and counts requests."""

from __future__ import annotations

import re
import resource
import shutil
import socket
import subprocess
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.processes import confine

_CONNECTIONS = 19_000
BODY = '{"statusCode":200,"sequence_number":"49590338271490256608559692538361571095921575989136588898"}'
"""What the checks of both flows look for, the one through an API and the direct one."""
_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 3600;
  default_type application/json;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    location / {{ return 200 '{body}'; }}
    location = /status {{ stub_status; }}
  }}
}}
"""


class WebServer:
    """One nginx, from its configuration to its end."""

    def __init__(self, folder: Path, core: int) -> None:
        """Start it. Raises ClickException where there is none, or it does not start."""
        executable = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if executable is None:
            raise click.ClickException("no nginx: apt-get install nginx")
        self.certificate = folder / "certificate.pem"
        write_certificate(self.certificate)
        port, tls_port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        self.tls_url = f"https://127.0.0.1:{tls_port}"
        self.connections = min(_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 100)
        self._asked = 0
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder,
                files=self.connections + 100,
                connections=self.connections,
                port=port,
                tls_port=tls_port,
                certificate=self.certificate,
                body=BODY,
            )
        )
        self._process = subprocess.Popen(
            [executable, "-p", str(folder), "-c", str(configuration)],
            stderr=subprocess.PIPE,
            preexec_fn=lambda: confine({core}),
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                self.requests()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    assert self._process.stderr is not None
                    raise click.ClickException(f"nginx: {self._process.stderr.read().decode().strip()}") from None
                time.sleep(0.05)

    def requests(self) -> int:
        """How many requests it has answered, those of this object not included."""
        return int(self._status(r"\s(\d+)\s*\nReading")) - self._asked

    def open_connections(self) -> int:
        """How many connections are open, the one of this method included."""
        return int(self._status(r"Active connections: (\d+)"))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _status(self, pattern: str) -> str:
        with urllib.request.urlopen(f"{self.url}/status", timeout=10) as answer:
            found = re.search(pattern, answer.read().decode())
        assert found is not None
        self._asked += 1
        return found[1]


def write_certificate(path: Path) -> None:
    """A self-signed certificate for 127.0.0.1 and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(listener.getsockname()[1]) for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()
