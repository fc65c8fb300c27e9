"""Encrypted connections: certificates that clients trust, and files that are wrong."""

import shutil
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest

from server_process import ServerProcess, mms

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl for a certificate"
)


def make_certificate(folder: Path, *options: str) -> tuple[Path, Path]:
    """Return the files of a certificate of localhost and of its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    folder.mkdir(exist_ok=True)
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "1", *name]
    command += [*(options or ["-nodes"]), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_tls(demo_bundle, tmp_path, clip) -> None:
    certificate, key = make_certificate(tmp_path)
    server = ServerProcess(
        "--bundle", demo_bundle, "--tls-certificate", certificate, "--tls-key", key
    )
    try:
        url = f"https://localhost:{server.port}/health/live"
        with urllib.request.urlopen(
            url, context=ssl.create_default_context(cafile=certificate), timeout=60
        ) as response:
            assert response.status == 200
        server.wait_log("https://")
        address = f"https://localhost:{server.port}"
        found = mms("stream", clip.path, "--lang", "eng", "--server", address)
        assert found.returncode == 1
        assert "SSL_CERT_FILE" in found.stderr.splitlines()[-1]
    finally:
        server.close()


def test_files_of_tls_that_are_wrong_are_one_line(demo_bundle, tmp_path) -> None:
    certificate, key = make_certificate(tmp_path / "a")
    _, other = make_certificate(tmp_path / "b")
    locked = make_certificate(tmp_path / "c", "-passout", "pass:secret")
    for files, problem in (
        ((certificate, other), f"{other} is of another certificate"),
        ((certificate, tmp_path / "none.pem"), "none.pem: the file of TLS cannot be read"),
        ((tmp_path / "none.pem", key), "none.pem: the file of TLS cannot be read"),
        ((certificate, None), "--tls-key"),
        ((key, key), "a certificate and its key as PEM"),
        ((None, key), "--tls-certificate"),
        (locked, "is encrypted"),
    ):
        options = zip(("--tls-certificate", "--tls-key"), files, strict=True)
        given = [part for name, file in options if file for part in (name, file)]
        found = mms("serve", "--bundle", demo_bundle, "--port", 0, *given)
        (line,) = found.stderr.splitlines()
        assert found.returncode == 1
        assert problem in line
