"""What is deployed, asked of a target that answers, or refuses."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from analysis.deployment import api_address, describe

MANIFEST = {
    "functions": {"place-vote": "arn:aws:lambda:eu-west-1:123456789012:function:app-place-vote:live"},
    "streams": {"votes": "app-votes"},
    "api_base_url": "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/prod",
}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Operation")


class Target:
    """Answers by operation; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {
            "get_function_configuration": {"Timeout": 15, "MemorySize": 256, "Architectures": ["arm64"]},
            "get_function_concurrency": {"ReservedConcurrentExecutions": 50},
            "get_account_settings": {
                "AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 950}
            },
            "describe_stream_summary": {
                "StreamDescriptionSummary": {
                    "OpenShardCount": 2,
                    "StreamModeDetails": {"StreamMode": "PROVISIONED"},
                }
            },
            "get_rest_api": {"name": "app"},
            **answers,
        }
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, service: str) -> Any:
        return self

    def __getattr__(self, operation: str) -> Any:
        def answer(**arguments: Any) -> Any:
            self.asked.append((operation, arguments))
            found = self.answers[operation]
            if isinstance(found, Exception):
                raise found
            return found

        return answer


def test_everything_that_figures_need_is_asked_for():
    found = describe(Target(), MANIFEST)
    assert found.as_dict() == {
        "functions": {
            "place-vote": {"timeout_s": 15, "memory_mb": 256, "architecture": "arm64", "reserved_concurrency": 50}
        },
        "account": {"concurrency": 1000, "unreserved_concurrency": 950},
        "api": {"kind": "rest", "id": "a1b2c3", "name": "app", "stage": "prod"},
        "streams": {"votes": {"shards": 2, "mode": "PROVISIONED"}},
    }
    assert found.warnings == ()


def test_a_qualified_function_is_described_as_such_and_its_reservation_is_the_functions():
    target = Target()
    describe(target, MANIFEST)
    asked = dict(target.asked)
    assert asked["get_function_configuration"]["FunctionName"].endswith(":live")
    assert asked["get_function_concurrency"]["FunctionName"] == "app-place-vote"


def test_an_id_that_is_no_rest_api_is_an_http_api():
    target = Target(get_rest_api=refusal("NotFoundException"), get_api={"ProtocolType": "HTTP", "Name": "app"})
    assert describe(target, MANIFEST).api == {"kind": "http", "id": "a1b2c3", "name": "app", "stage": "prod"}


def test_what_is_refused_is_none_with_a_warning():
    denied = refusal("AccessDeniedException")
    found = describe(Target(**dict.fromkeys(Target().answers, denied)), MANIFEST)
    assert found.as_dict() == {
        "functions": {"place-vote": dict.fromkeys(("timeout_s", "memory_mb", "architecture", "reserved_concurrency"))},
        "account": {"concurrency": None, "unreserved_concurrency": None},
        "api": None,
        "streams": {"votes": {"shards": None, "mode": None}},
    }
    assert len(found.warnings) == 5
    assert all("AccessDenied" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a1b2.execute-api.eu-west-1.amazonaws.com/prod", ("a1b2", "prod")),
        ("https://a1b2.execute-api.eu-west-1.amazonaws.com/prod/v1", ("a1b2", "prod")),
        ("https://a1b2.execute-api.eu-west-1.amazonaws.com", ("a1b2", "$default")),
        ("http://127.0.0.1:4566/restapis/a1b2/prod/_user_request_", ("a1b2", "prod")),
        ("https://shop.example.com/prod", None),
        (None, None),
    ],
)
def test_an_api_is_known_by_its_own_address(url, address):
    assert api_address(url) == address
