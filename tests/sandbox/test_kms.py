"""Real RSA under moto's keys."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sandbox.moto_bridge import MotoBridge
from sandbox.services.errors import AwsError
from sandbox.services.kms import KmsService
from tests.sandbox.boto3_in_process import REGION, answered_by, boto3_client

OAEP_SHA_256 = "RSAES_OAEP_SHA_256"


@pytest.fixture
def kms() -> KmsService:
    return KmsService()


@pytest.fixture
def client(kms: KmsService) -> Any:
    """boto3 against the service, and moto behind it."""
    return boto3_client(answered_by(kms.handle, otherwise=MotoBridge().handle), "kms")


@pytest.fixture
def key_id(client: Any) -> str:
    created = client.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")
    client.create_alias(AliasName="alias/shop", TargetKeyId=created["KeyMetadata"]["KeyId"])
    key_id: str = created["KeyMetadata"]["KeyId"]
    return key_id


def test_what_is_encrypted_with_the_public_half_is_decrypted_by_kms(client: Any, key_id: str) -> None:
    public_key = serialization.load_der_public_key(client.get_public_key(KeyId=key_id)["PublicKey"])
    assert isinstance(public_key, rsa.RSAPublicKey)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    ciphertext = public_key.encrypt(b"two sales", oaep)
    answer = client.decrypt(KeyId=key_id, CiphertextBlob=ciphertext, EncryptionAlgorithm=OAEP_SHA_256)
    assert (answer["Plaintext"], answer["EncryptionAlgorithm"]) == (b"two sales", OAEP_SHA_256)
    assert answer["KeyId"] == f"arn:aws:kms:{REGION}:123456789012:key/{key_id}"


@pytest.mark.parametrize(
    "name",
    [
        "{id}",
        "alias/shop",
        "arn:aws:kms:eu-west-1:123456789012:key/{id}",
        "arn:aws:kms:eu-west-1:123456789012:alias/shop",
    ],
)
def test_a_key_has_an_id_an_alias_and_two_arns(kms: KmsService, key_id: str, name: str) -> None:
    called = name.format(id=key_id)
    encrypted = kms.encrypt(REGION, {"KeyId": called, "Plaintext": b"x", "EncryptionAlgorithm": OAEP_SHA_256})
    decrypted = kms.decrypt(
        REGION,
        {"KeyId": called, "CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionAlgorithm": OAEP_SHA_256},
    )
    assert decrypted["Plaintext"] == b"x"


def test_190_bytes_fit_and_191_do_not(kms: KmsService, key_id: str) -> None:
    parameters = {"KeyId": key_id, "EncryptionAlgorithm": OAEP_SHA_256}
    assert len(kms.encrypt(REGION, {**parameters, "Plaintext": b"x" * 190})["CiphertextBlob"]) == 256
    with pytest.raises(AwsError) as refused:
        kms.encrypt(REGION, {**parameters, "Plaintext": b"x" * 191})
    assert refused.value.code == "ValidationException"


def test_the_public_key_names_its_algorithms(client: Any, key_id: str) -> None:
    answer = client.get_public_key(KeyId="alias/shop")
    assert answer["KeySpec"] == "RSA_2048"
    assert OAEP_SHA_256 in answer["EncryptionAlgorithms"]
    assert "SigningAlgorithms" not in answer


@pytest.mark.parametrize("ciphertext", [b"x", b"x" * 256, b"\xff" * 256])
def test_rubbish_is_an_invalid_ciphertext(client: Any, key_id: str, ciphertext: bytes) -> None:
    with pytest.raises(client.exceptions.InvalidCiphertextException):
        client.decrypt(KeyId=key_id, CiphertextBlob=ciphertext, EncryptionAlgorithm=OAEP_SHA_256)


def test_another_keys_ciphertext_is_invalid(client: Any, key_id: str) -> None:
    other = client.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["KeyId"]
    blob = client.encrypt(KeyId=other, Plaintext=b"x", EncryptionAlgorithm=OAEP_SHA_256)["CiphertextBlob"]
    with pytest.raises(client.exceptions.InvalidCiphertextException):
        client.decrypt(KeyId=key_id, CiphertextBlob=blob, EncryptionAlgorithm=OAEP_SHA_256)


def test_unknown_keys_and_aliases_are_not_found(client: Any) -> None:
    with pytest.raises(client.exceptions.NotFoundException, match=r"Alias .*alias/nope is not found"):
        client.get_public_key(KeyId="alias/nope")
    with pytest.raises(client.exceptions.NotFoundException, match="does not exist"):
        client.get_public_key(KeyId="00000000-0000-0000-0000-000000000000")


def test_disabled_and_deleted_keys_are_refused(client: Any, key_id: str) -> None:
    client.disable_key(KeyId=key_id)
    with pytest.raises(client.exceptions.DisabledException):
        client.encrypt(KeyId=key_id, Plaintext=b"x", EncryptionAlgorithm=OAEP_SHA_256)
    client.enable_key(KeyId=key_id)
    assert client.encrypt(KeyId=key_id, Plaintext=b"x", EncryptionAlgorithm=OAEP_SHA_256)
    client.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    with pytest.raises(client.exceptions.KMSInvalidStateException):
        client.encrypt(KeyId=key_id, Plaintext=b"x", EncryptionAlgorithm=OAEP_SHA_256)


def test_an_algorithm_the_key_cannot_do_is_refused(client: Any, key_id: str) -> None:
    with pytest.raises(client.exceptions.InvalidKeyUsageException):
        client.encrypt(KeyId=key_id, Plaintext=b"x")  # SYMMETRIC_DEFAULT
    signing = client.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    with pytest.raises(client.exceptions.InvalidKeyUsageException):
        client.encrypt(KeyId=signing, Plaintext=b"x", EncryptionAlgorithm=OAEP_SHA_256)


def test_symmetric_keys_still_work_without_naming_the_key(client: Any) -> None:
    key_id = client.create_key()["KeyMetadata"]["KeyId"]
    blob = client.encrypt(KeyId=key_id, Plaintext=b"secret", EncryptionContext={"a": "b"})["CiphertextBlob"]
    assert client.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == b"secret"
    with pytest.raises(client.exceptions.InvalidCiphertextException):
        client.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "other"})


def test_a_symmetric_ciphertext_of_another_key_is_the_incorrect_key(client: Any) -> None:
    one, two = (client.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    blob = client.encrypt(KeyId=one, Plaintext=b"x")["CiphertextBlob"]
    with pytest.raises(client.exceptions.IncorrectKeyException):
        client.decrypt(CiphertextBlob=blob, KeyId=two)


def test_data_keys_of_moto_are_still_moto_s(client: Any) -> None:
    key_id = client.create_key()["KeyMetadata"]["KeyId"]
    data_key = client.generate_data_key(KeyId=key_id, KeySpec="AES_256")
    assert client.decrypt(CiphertextBlob=data_key["CiphertextBlob"])["Plaintext"] == data_key["Plaintext"]


def test_a_malformed_request_is_an_error_not_a_crash(kms: KmsService, key_id: str) -> None:
    bodies = [b"", b"[]", b"{}", b'{"KeyId": "' + key_id.encode() + b'", "CiphertextBlob": "#"}']
    for body in bodies:
        answer = kms.handle("Decrypt", body, REGION)
        assert answer is not None
        assert answer[0] == 400
