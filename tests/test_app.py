"""The front door: what it refuses, where it listens, and that it says so."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parent.parent


def _start(home: Path, **settings: str) -> subprocess.Popen[str]:
    plain = {
        "STUDIO_HOME": str(home),
        "STUDIO_EMBEDDED_MODEL": "0",
        "STUDIO_SAMPLE_DATA": "0",
        "STUDIO_PORT": "0",
    }
    return subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=os.environ | plain | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"STUDIO_HOST": "0.0.0.0"}, "no accounts"),
        ({"STUDIO_HOST": "192.0.2.7"}, "SSH tunnel"),
        ({"STUDIO_PORT": "abc"}, "STUDIO_PORT"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(
    home: Path, settings: dict[str, str], said: str
) -> None:
    with _start(home, **settings) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in error
    assert "Traceback" not in error


def test_a_port_that_is_taken_is_said(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with _start(home, STUDIO_PORT=port) as process:
            _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert port in error


def test_port_nought_takes_a_free_one_and_tells_it(home: Path) -> None:
    with _start(home) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        answer = httpx.get(f"{address}/", follow_redirects=True, timeout=60)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert answer.status_code == 200
    assert answer.url.path == "/studio/"
    assert "Traceback" not in error
    assert process.returncode == 0


def _stop(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    return error


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().split()[-1]


def test_with_an_account_it_listens_elsewhere_and_nobody_comes_in_unasked(home: Path) -> None:
    add = [sys.executable, "-m", "studio", "users", "add", "ada", "--role", "admin", "--password-stdin"]
    subprocess.run(
        add,
        cwd=ROOT,
        env=os.environ | {"STUDIO_HOME": str(home)},
        input="four unrelated words\n",
        text=True,
        check=True,
        capture_output=True,
    )
    with _start(home, STUDIO_HOST="0.0.0.0") as process:
        port = _address(process).rpartition(":")[2]
        answer = httpx.get(f"http://127.0.0.1:{port}/studio/config", timeout=60)
        foreign = httpx.get(
            f"http://127.0.0.1:{port}/login", headers={"host": "elsewhere.example"}, timeout=60
        )
        _stop(process)
    assert answer.status_code == 401
    assert foreign.status_code == 421


def test_it_serves_tls_with_a_certificate_of_ones_own(home: Path, tmp_path: Path) -> None:
    cert, key = _certificate(tmp_path)
    with _start(home, STUDIO_TLS_CERT=str(cert), STUDIO_TLS_KEY=str(key)) as process:
        address = _address(process)
        context = ssl.create_default_context(cafile=str(cert))
        answer = httpx.get(f"{address}/setup", verify=context, timeout=60)
        error = _stop(process)
    assert address.startswith("https://")
    assert answer.status_code == 200
    assert "strict-transport-security" in answer.headers
    assert "Traceback" not in error


@pytest.mark.parametrize("wrong", ["missing", "empty", "swapped"])
def test_a_certificate_that_cannot_be_used_is_said(home: Path, tmp_path: Path, wrong: str) -> None:
    cert, key = _certificate(tmp_path)
    if wrong == "swapped":
        cert, key = key, cert
    elif wrong == "empty":
        key.write_text("")
    else:
        cert = tmp_path / "none.pem"
    with _start(home, STUDIO_TLS_CERT=str(cert), STUDIO_TLS_KEY=str(key)) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "STUDIO_TLS_CERT" in error
    assert "Traceback" not in error


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    made = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tandem test")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(made, hashes.SHA256())
    )
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key.write_bytes(made.private_bytes(*form))
    return cert, key
