"""Whom a request on the wire is for, and AWS's query protocol."""

from __future__ import annotations

import pytest

from sandbox.services.query_protocol import members, parse_form
from sandbox.services.requests import Addressee, addressee, operation

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def test_a_signature_names_service_and_region() -> None:
    signed = "AWS4-HMAC-SHA256 Credential=AKID/20261121/eu-west-1/kinesis/aws4_request, SignedHeaders=host, Signature=0"
    assert addressee({"authorization": signed}) == Addressee("kinesis", "eu-west-1")


def test_a_presigned_url_names_them_too() -> None:
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261121%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=1"
    )
    assert addressee({}, query) == Addressee("s3", "eu-west-1")


@pytest.mark.parametrize("header", ["", "Bearer token", "AWS4-HMAC-SHA256 Credential=broken", "Credential=a/b/c/d/e"])
def test_an_unsigned_or_broken_request_names_nobody(header: str) -> None:
    assert addressee({"authorization": header}) is None


def test_the_operation_is_in_the_target_or_in_the_form() -> None:
    assert operation({"x-amz-target": "Kinesis_20131202.PutRecord"}, b"{}") == "PutRecord"
    assert operation(FORM, b"Action=Publish&Version=2010-03-31") == "Publish"
    assert operation(FORM, b"") is None
    assert operation({"content-type": "application/json"}, b"{}") is None


def test_a_form_becomes_a_tree() -> None:
    tree = parse_form(b"Action=Publish&Message=a%26b&MessageAttributes.entry.1.Name=x&MessageAttributes.entry.2.Name=y")
    assert tree["Message"] == "a&b"
    assert [entry["Name"] for entry in members(tree["MessageAttributes"], "entry")] == ["x", "y"]


def test_members_come_in_the_order_of_their_numbers_and_an_empty_list_is_empty() -> None:
    assert members({"member": {"10": "last", "2": "first"}}) == ["first", "last"]
    assert members("") == []
    assert members({}) == []


@pytest.mark.parametrize("body", [b"A=1&A.b=2", b"A.b=2&A.b.c=1", b"\xff=1"])
def test_a_form_that_makes_no_sense_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_form(body)
