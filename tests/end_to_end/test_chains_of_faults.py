"""Drops and duplicates injected into every kind of chain: the report says exactly so many, hop by hop. Virtual time."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from analysis.truth import compare
from tests.end_to_end.virtual_run import MODEL, VirtualRun
from tests.sandbox.boto3_in_process import REGION
from tests.sandbox.deployed import Deployed

MESSAGES = 120
INJECTED = {
    # chain: (service, place, dropped, duplicated)
    "events-queue": ("sqs", "queue", 5, 3),
    "events-topic": ("sns", "topic", 7, 4),
    "events-bus": ("events", "bus", 2, 6),
    "events-stream": ("kinesis", "stream", 3, 2),
}


def encrypted_sale(deployed: Deployed) -> str:
    key = deployed.sandbox.kms.get_public_key(REGION, {"KeyId": deployed.outputs["ShopKeyId"]})["PublicKey"]
    public: Any = serialization.load_der_public_key(key)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    sale = json.dumps([{"item_no": 90001, "number": 5, "turnover": 5}]).encode()
    return base64.b64encode(public.encrypt(sale, oaep)).decode()


def publish_for_snapstart(deployed: Deployed) -> None:
    """Version 1 of get-results, whose environments are restored."""
    client, name = deployed.client("lambda"), deployed.outputs["GetResultsFunction"]
    client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "PublishedVersions"})
    client.publish_version(FunctionName=name)
    settings = client.get_function_configuration(FunctionName=name, Qualifier="1")["SnapStart"]
    assert settings == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}


def provision(deployed: Deployed) -> None:
    """Version 1 of place-vote, with two environments that are made ahead."""
    client, name = deployed.client("lambda"), deployed.outputs["PlaceVoteFunction"]
    client.publish_version(FunctionName=name)
    client.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VirtualRun, dict[str, Any]]]:
    deployed = Deployed(4, MODEL | {"lambda": {"function_update_ms": 0.0}})
    run = VirtualRun(deployed, tmp_path_factory.mktemp("chains") / "run", flows=["events", "shop"])
    for service, place, dropped, duplicated in INJECTED.values():
        run.fault(1, kind="drop", count=dropped, of=MESSAGES, **{place: "events"})
        run.fault(1, kind="duplicate", count=duplicated, of=MESSAGES, **{place: "events"})
        for number in range(MESSAGES):
            run.send(1 + number * 0.1, service, f"{service}-{number}")
    run.fault(1, kind="drop", topic="sales", count=6, of=MESSAGES)
    run.fault(1, kind="duplicate", topic="decrypted-sales", count=5, of=MESSAGES - 6)
    run.fault(1, kind="delay", topic="decrypted-sales", count=4, of=MESSAGES - 6, delay_s=90)
    content = encrypted_sale(deployed)
    for number in range(MESSAGES):
        sale = {"shop_id": "s", "content_base64": content, "correlation_id": f"sale-{number}"}
        run.request(1 + number * 0.1, "shop", "POST", "/shop", sale)
    publish_for_snapstart(deployed)
    for number in range(5):
        run.invoke(20 + number * 0.01, "get-results", {"pathParameters": {"vote_id": "poll"}}, qualifier="1")
    provision(deployed)
    for number in range(6):
        run.invoke(20 + number // 3 + number * 0.001, "place-vote", {"body": "{}"}, qualifier="1")
    yield run, run.finish()
    deployed.sandbox.close()


@pytest.mark.parametrize("chain", INJECTED)
def test_k_drops_and_j_duplicates_are_k_lost_and_j_duplicated(run, chain):
    _, _, dropped, duplicated = INJECTED[chain]
    told = run[1]["chains"][chain]
    assert (
        told.items()
        >= {
            "sent": MESSAGES,
            "accepted": MESSAGES,
            "completed": MESSAGES - dropped,
            "lost": dropped,
            "duplicated": duplicated,
            "late": 0,
            "pending": 0,
        }.items()
    )
    assert told["end_to_end_ms"]["p50"] > 0


def test_a_chain_of_three_says_what_it_lost_at_which_hop(run):
    told = run[1]["chains"]["shop"]
    assert (told["lost"], told["duplicated"], told["late"]) == (6, 5, 4)
    accept, decrypt, update_db = told["hops"]
    assert [hop["function"] for hop in told["hops"]] == ["shop-accept", "shop-decrypt", "shop-update-db"]
    assert [hop["reached"] for hop in told["hops"]] == [MESSAGES, MESSAGES - 6, MESSAGES - 6]
    assert [hop["lost_before"] for hop in told["hops"]] == [0, 6, 0]
    assert [hop["repeated"] for hop in told["hops"]] == [0, 0, 5]
    assert [hop["late"] for hop in told["hops"]] == [0, 0, 4]
    assert update_db["since_last_ms"]["max"] > 90_000 > decrypt["since_last_ms"]["max"] > 0
    assert accept["since_last_ms"]["p50"] < told["end_to_end_ms"]["p50"]


def test_restores_are_starts_of_a_class_of_their_own(run):
    """Five at once find no environment: each waits for a restore, which is its init."""
    told = run[1]["functions"]["get-results"]
    assert (told["cold_starts"], told["starts"]["snapstart"], told["starts"]["cold"]) == (5, 5, 0)
    parts = run[1]["breakdown"]["Invoke get-results"]
    assert parts["init_ms"]["mean"] == pytest.approx(400, rel=0.15)
    assert abs(parts["client_network_ms"]["mean"]) < 2


def test_provisioned_environments_start_without_a_cold_start(run):
    """Three at once, twice: two find an environment that was made ahead, one has to wait for its own, once."""
    told, truth = run[1]["functions"]["place-vote"], run[0].deployed.function("place-vote")
    assert (told["invocations"], told["cold_starts"]) == (6, 1)
    assert told["starts"] == {"cold": 1, "proactive": 0, "provisioned": 2, "snapstart": 0}
    assert (truth.provisioned_starts, truth.cold_starts) == (2, 1)


def test_every_count_equals_the_truth(run):
    virtual, summary = run
    truth = virtual.deployed.sandbox.truth.as_dict()
    assert truth["pending"] == 0
    # nothing here goes over the wire, where messages are counted
    different = [one for one in compare(summary, truth) if not one.equal and not one.name.startswith("messages.")]
    assert different == []


def test_a_record_that_is_no_vote_is_given_up_and_the_others_are_counted(run):
    deployed = run[0].deployed
    at = deployed.clock.now()
    for number in range(9):
        vote = {"vote_id": "p", "token": str(number), "vote_choice": "yes", "time_id": 0}
        data = b"no vote" if number == 4 else json.dumps(vote).encode()
        record = {"StreamName": deployed.outputs["VotesStreamName"], "Data": data, "PartitionKey": "k"}
        deployed.sandbox.kinesis.put_record(REGION, record)
    deployed.clock.run_until(at + 120)
    truth = deployed.sandbox.truth.as_dict()
    assert truth["pending"] == 0
    assert truth["queues"]["votes-dead"]["accepted"] == 1
    (item,) = deployed.client("dynamodb").scan(TableName=deployed.outputs["VotesTableName"])["Items"]
    assert int(item["total"]["N"]) == 8
