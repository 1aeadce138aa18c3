"""OpenSSH signatures (`ssh-keygen -Y`), checked with a file of allowed_signers: see ssh-keygen(1)."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from device.errors import BundleError, last_error


@dataclass(frozen=True)
class Purpose:
    """What a signature is for: one made with the same key for anything else is refused.

    `signer`: the name at the beginning of the lines in the file of signers; `what`: what is signed, in words.
    """

    namespace: str
    signer: str
    what: str


RELEASE = Purpose("interview-grader-release", "release", "the bundle")
_TOOL = "ssh-keygen"


def sign(path: Path, key: Path, purpose: Purpose = RELEASE) -> bytes:
    """The signature of a file by a private key, in OpenSSH's armoured form; raises `BundleError`."""
    signature = path.with_name(path.name + ".sig")
    signature.unlink(missing_ok=True)
    done = _run(["-Y", "sign", "-q", "-f", str(key), "-n", purpose.namespace, str(path)])
    if done.returncode != 0 or not signature.is_file():
        raise BundleError(f"{key}: cannot sign ({last_error(done.stderr)}); expected an OpenSSH private key")
    content = signature.read_bytes()
    signature.unlink()
    return content


def verify(content: BinaryIO, signature: bytes, signers: Path, purpose: Purpose = RELEASE) -> None:
    """Raises `BundleError` unless one of the signers signed exactly these bytes. `content` is a real file."""
    if not signers.is_file():
        raise BundleError(f"{signers}: no such file: expected the public keys of trusted signers")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "signature")
        file.write_bytes(signature)  # then closed: on Windows no other program can read an open file
        common = ["-n", purpose.namespace, "-s", str(file)]
        done = _run(["-Y", "verify", "-q", "-f", str(signers), "-I", purpose.signer, *common], content)
        if done.returncode == 0:
            return
        intact = _run(["-Y", "check-novalidate", *common], content)
    if intact.returncode == 0:
        raise BundleError(
            f"{purpose.what} is signed by a key that this device does not know ({_key(intact.stdout)}): "
            f"expected one of {signers}; add the key there only if you trust it"
        )
    raise BundleError(
        f"the signature does not match: {purpose.what} was changed or damaged; copy it again from where it "
        "was made"
    )


def public_line(key: Path, purpose: Purpose = RELEASE) -> str:
    """The line for a private key in the file of signers; raises `BundleError`."""
    done = _run(["-y", "-f", str(key)])
    if done.returncode != 0:
        raise BundleError(
            f"{key}: cannot be read ({last_error(done.stderr)}); expected an OpenSSH private key"
        )
    kind, public = done.stdout.split()[:2]
    return f'{purpose.signer} namespaces="{purpose.namespace}" {kind} {public}\n'


def make_key(key: Path, purpose: Purpose = RELEASE) -> None:
    """Create a private key without a passphrase, with its public key next to it; raises `BundleError`."""
    key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    done = _run(["-q", "-t", "ed25519", "-N", "", "-C", purpose.namespace, "-f", str(key)])
    if done.returncode != 0:
        raise BundleError(f"{key}: cannot be created ({last_error(done.stderr)})")


def _key(output: str) -> str:
    """The fingerprint in `Good "…" signature with ED25519 key SHA256:…`."""
    return output.rpartition(" key ")[2].strip() or "unknown"


def _run(arguments: list[str], content: BinaryIO | None = None) -> subprocess.CompletedProcess[str]:
    if content is not None:
        content.seek(0)
    try:
        return subprocess.run(
            [_TOOL, *arguments], stdin=content, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise BundleError(
            f"{_TOOL} is not installed; install OpenSSH (Debian: sudo apt-get install openssh-client)"
        ) from None
