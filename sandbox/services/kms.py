"""KMS with asymmetric RSA keys: Encrypt, Decrypt and GetPublicKey with real RSA.

moto holds the keys and their aliases, but encrypts symmetrically whatever a key's kind. Symmetric keys stay its own.
Error texts as AWS KMS writes them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from moto.core.exceptions import JsonRESTError
from moto.kms.models import Key, KmsBackend, kms_backends

from sandbox.definitions import ACCOUNT_ID
from sandbox.services.errors import AwsError

SYMMETRIC = "SYMMETRIC_DEFAULT"

_PADDINGS = {
    "RSAES_OAEP_SHA_1": padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None),
    "RSAES_OAEP_SHA_256": padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None),
}
_HASH_BYTES = {"RSAES_OAEP_SHA_1": 20, "RSAES_OAEP_SHA_256": 32}

Answer = tuple[int, dict[str, Any]]


class KmsService:
    """The data path of KMS. Stateless: keys are looked up in moto at each call."""

    # ---------------------------------------------------------------- boto3's operations

    def encrypt(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """RSA-2048 with RSAES_OAEP_SHA_256 takes 190 bytes."""
        backend = _backend(region)
        key = _usable_key(backend, region, parameters["KeyId"])
        plaintext = _bytes(parameters["Plaintext"])
        if key.key_spec == SYMMETRIC:
            blob, _ = _ask_moto(
                lambda: backend.encrypt(key.id, plaintext, dict(parameters.get("EncryptionContext", {})))
            )
            return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": SYMMETRIC}
        algorithm = _algorithm(key, parameters)
        public_key = _private_key(key).public_key()
        most = public_key.key_size // 8 - 2 * _HASH_BYTES[algorithm] - 2
        if not 1 <= len(plaintext) <= most:
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have "
                f"length between 1 and {most} for {algorithm} with {key.key_spec}",
            )
        ciphertext = public_key.encrypt(plaintext, _PADDINGS[algorithm])
        return {"CiphertextBlob": ciphertext, "KeyId": key.arn, "EncryptionAlgorithm": algorithm}

    def decrypt(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """An asymmetric ciphertext carries no key id: `KeyId` is required for it."""
        backend = _backend(region)
        ciphertext = _bytes(parameters["CiphertextBlob"])
        key_id = parameters.get("KeyId")
        key = _usable_key(backend, region, key_id) if key_id else None
        if key is None or key.key_spec == SYMMETRIC:
            return _decrypt_symmetric(backend, ciphertext, key, dict(parameters.get("EncryptionContext", {})))
        algorithm = _algorithm(key, parameters)
        try:
            plaintext = _private_key(key).decrypt(ciphertext, _PADDINGS[algorithm])
        except ValueError:
            raise AwsError("InvalidCiphertextException", "") from None
        return {"Plaintext": plaintext, "KeyId": key.arn, "EncryptionAlgorithm": algorithm}

    def get_public_key(self, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """`PublicKey` is a DER-encoded SubjectPublicKeyInfo."""
        key = _usable_key(_backend(region), region, parameters["KeyId"])
        if key.key_spec == SYMMETRIC:
            raise AwsError(
                "UnsupportedOperationException", f"{key.arn} key spec {SYMMETRIC} is not valid for GetPublicKey."
            )
        answer = {
            "KeyId": key.arn,
            "PublicKey": key.private_key.public_key(),
            "CustomerMasterKeySpec": key.key_spec,
            "KeySpec": key.key_spec,
            "KeyUsage": key.key_usage,
            "EncryptionAlgorithms": key.encryption_algorithms,
            "SigningAlgorithms": key.signing_algorithms,
        }
        return {name: value for name, value in answer.items() if value is not None}

    # ---------------------------------------------------------------- the wire

    def handle(self, action: str, body: bytes, region: str) -> Answer | None:
        """One request of the JSON protocol -> (status, document); None for what moto answers."""
        operation = _OPERATIONS.get(action)
        if operation is None:
            return None
        try:
            parameters = orjson.loads(body)
            for name in ("Plaintext", "CiphertextBlob"):
                if name in parameters:
                    parameters[name] = base64.b64decode(parameters[name], validate=True)
            answer = operation(self, region, parameters)
        except AwsError as error:
            return error.status, {"__type": error.code, "message": error.message}
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"__type": "ValidationException", "message": f"malformed {action} request: {error!r}"}
        return 200, {
            name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in answer.items()
        }


def _decrypt_symmetric(
    backend: KmsBackend, ciphertext: bytes, key: Key | None, context: dict[str, str]
) -> dict[str, Any]:
    plaintext, arn = _ask_moto(lambda: backend.decrypt(ciphertext, context))
    if key is not None and key.arn != arn:
        raise AwsError(
            "IncorrectKeyException",
            "The key ID in the request does not identify a CMK that can perform this operation.",
        )
    return {"Plaintext": plaintext, "KeyId": arn, "EncryptionAlgorithm": SYMMETRIC}


def _usable_key(backend: KmsBackend, region: str, key_id: str) -> Key:
    """The key behind an id, an ARN, an alias or an alias ARN. Raises AwsError as KMS would refuse it."""
    if key_id.startswith("arn:"):
        parts = key_id.split(":")
        if len(parts) < 6 or parts[3] != region:
            raise AwsError("NotFoundException", f"Invalid arn {parts[3] if len(parts) > 3 else key_id}")
    name = backend.get_alias_name(key_id)
    if name.startswith("alias/"):
        found = next((key for key in backend.keys.values() if name in key.aliases), None)
        if found is None:
            raise AwsError("NotFoundException", f"Alias arn:aws:kms:{region}:{ACCOUNT_ID}:{name} is not found.")
    else:
        plain_id = backend.get_key_id(key_id)
        found = backend.keys.get(plain_id)
        if found is None:
            raise AwsError(
                "NotFoundException", f"Key 'arn:aws:kms:{region}:{ACCOUNT_ID}:key/{plain_id}' does not exist"
            )
    if found.key_state == "PendingDeletion":
        raise AwsError("KMSInvalidStateException", f"{found.arn} is pending deletion.")
    if not found.enabled:
        raise AwsError("DisabledException", f"{found.arn} is disabled.")
    return found


def _algorithm(key: Key, parameters: Mapping[str, Any]) -> str:
    """The request's algorithm, if the key can do it."""
    algorithm: str = parameters.get("EncryptionAlgorithm", SYMMETRIC)
    if key.key_usage != "ENCRYPT_DECRYPT":
        raise AwsError("InvalidKeyUsageException", f"{key.arn} key usage is {key.key_usage} which is not valid.")
    if algorithm not in _PADDINGS or algorithm not in (key.encryption_algorithms or ()):
        raise AwsError(
            "InvalidKeyUsageException",
            f"Algorithm {algorithm} and key spec {key.key_spec} are incompatible.",
        )
    return algorithm


def _ask_moto(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except JsonRESTError as error:
        raise AwsError(error.error_type, str(error.message)) from None


def _backend(region: str) -> KmsBackend:
    return kms_backends[ACCOUNT_ID][region]


def _private_key(key: Any) -> Any:
    return key.private_key.private_key  # moto's wrapper holds the `cryptography` key


def _bytes(value: bytes | bytearray | str) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


_OPERATIONS: Mapping[str, Callable[[KmsService, str, Mapping[str, Any]], dict[str, Any]]] = {
    "Encrypt": KmsService.encrypt,
    "Decrypt": KmsService.decrypt,
    "GetPublicKey": KmsService.get_public_key,
}
