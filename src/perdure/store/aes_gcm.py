"""AES-256-GCM, from the ``cryptography`` package.

GCM must never see a nonce twice under one key. A counter would have to survive crashes and copies of the file, and 96 random bits
are spent after some 2^32 messages. So the nonce is a keyed hash of the context and the plaintext: two messages share it only
if they are the same, as in the synthetic nonces of RFC 5297 and RFC 8452. By that, the same thing in the same place gives
the same bytes; the context names run and seq, so that happens for nothing but the same commit tried again, or the same answer to
the same task. Both keys, for the cipher and for the hash, are derived from the one that is given.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from perdure.errors import EncryptionError

KEY_BYTES = 32
NONCE_BYTES = 12


class AES256GCM:
    """Encrypts with AES-256-GCM: ``AES256GCM({"2026": key})``. Needs ``pip install 'perdure[encryption]'``.

    Args:
        keys: all keys that may be needed to read, by id; each of 32 random bytes (``secrets.token_bytes(32)``).
        write_with: the id of the one to write with; the first of them if it isn't given. To change keys, give the new one first
            and keep the old ones until no run is left that was written with them.

    Raises:
        EncryptionError: a key isn't of 32 bytes, an id can't be one, or ``cryptography`` isn't installed.
    """

    def __init__(self, keys: Mapping[str, bytes], *, write_with: str | None = None) -> None:
        if not keys or (write_with is not None and write_with not in keys):
            raise EncryptionError(f"there is no key {write_with or ''!r} to write with: name one of those given")
        self._key_id = write_with if write_with is not None else next(iter(keys))
        self._ciphers = {id_: _Cipher(id_, key) for id_, key in keys.items()}

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> AES256GCM:
        """Read keys from a file: a line ``id base64`` for each, the one to write with first.

        Raises:
            EncryptionError: it can't be read, others than its owner may read it, or a line isn't of that form.
        """
        file = Path(path)
        try:
            with file.open("rb") as opened:
                mode = os.fstat(opened.fileno()).st_mode
                lines = opened.read().decode("ascii", errors="replace").splitlines()
        except OSError as error:
            raise EncryptionError(f"{file}: the keys can't be read ({error.strerror})") from error
        if mode & 0o077:
            raise EncryptionError(f"{file}: others may read the keys (mode {mode & 0o777:04o}): chmod 600 it")
        keys: dict[str, bytes] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            found = re.fullmatch(r"(\S+)\s+(\S+)\s*", line)
            try:
                assert found is not None
                keys[found[1]] = base64.b64decode(found[2], validate=True)
            except (AssertionError, binascii.Error):
                raise EncryptionError(f"{file}, line {number}: write an id, a space, and 32 bytes in base64") from None
        return cls(keys)

    @property
    def key_id(self) -> str:
        """The key that is written with."""
        return self._key_id

    def encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        """Return nonce, ciphertext and tag."""
        return self._ciphers[self._key_id].encrypt(plaintext, context)

    def decrypt(self, key_id: str, ciphertext: bytes, context: bytes) -> bytes:
        """Return a plaintext.

        Raises:
            EncryptionError: there is no such key, or something isn't what it was.
        """
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise EncryptionError.missing(key_id)
        return cipher.decrypt(ciphertext, context)

    def __repr__(self) -> str:
        return f"AES256GCM(keys {', '.join(map(repr, self._ciphers))}; writes with {self._key_id!r})"


class _Cipher:
    """One key."""

    def __init__(self, id_: str, key: bytes) -> None:
        if type(key) is not bytes or len(key) != KEY_BYTES:
            raise EncryptionError(f"key {id_!r:.120} isn't of {KEY_BYTES} bytes: make one with secrets.token_bytes(32)")
        try:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        except ImportError:
            raise EncryptionError(
                "encryption needs the cryptography package: pip install 'perdure[encryption]'"
            ) from None
        self._id = id_
        self._aes: Any = AESGCM(blake2b(key=key, digest_size=32, person=b"perdure encrypt").digest())
        self._hash_key = blake2b(key=key, digest_size=32, person=b"perdure nonce").digest()
        self._invalid: type[Exception] = InvalidTag

    def encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        nonce = self._nonce(plaintext, context)
        return nonce + bytes(self._aes.encrypt(nonce, plaintext, context))

    def _nonce(self, plaintext: bytes, context: bytes) -> bytes:
        hashed = blake2b(b"%d:" % len(context), key=self._hash_key, digest_size=NONCE_BYTES)
        hashed.update(context)
        hashed.update(plaintext)
        return hashed.digest()

    def decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        try:
            return bytes(self._aes.decrypt(ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:], context))
        except (self._invalid, ValueError):
            raise EncryptionError(
                f"what is encrypted with key {self._id!r} can't be opened: the key given by that id is another one, or what is "
                "stored was changed or moved. Nothing is lost: give the right key, or restore the file from a backup"
            ) from None
