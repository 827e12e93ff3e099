"""`python -m control preflight` against a sandbox: what it finds, and what a denial or an expiry makes of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from config.aws import client
from config.settings import settings_from
from control import __main__ as command_line
from control.deploy import deploy
from control.sandbox_process import SandboxProcess, is_sandbox
from tests.control.test_runs import own_environment


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """With the stack: a preflight deploys none into a sandbox that it found."""
    process = SandboxProcess.start(tmp_path_factory.mktemp("sandbox") / "log")
    deploy(settings_from({"AWS_ENDPOINT_URL": process.endpoint}), {}, lambda line: None)
    yield process.endpoint
    process.stop()


@pytest.fixture
def preflight(sandbox: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the command: -> exit code, document."""
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - set(own_environment(tmp_path)):
        monkeypatch.delenv(name)

    def run(*arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
        environment = {**own_environment(tmp_path), "AWS_ENDPOINT_URL": sandbox, **variables}
        done = CliRunner().invoke(command_line.main, ["preflight", "--json", *arguments], env=environment)
        assert done.stdout, done.output
        return done.exit_code, json.loads(done.stdout)

    yield run
    told(sandbox, "reset", {})


def told(sandbox: str, what: str, document: object) -> None:
    """Tell the sandbox something."""
    request = urllib.request.Request(f"{sandbox}/_sandbox/{what}", json.dumps(document).encode(), method="POST")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).close()


def verdicts(document: dict[str, Any], check: str) -> dict[str, str]:
    return {row["subject"]: row["verdict"] for row in document["rows"] if row["check"] == check}


def test_demo_needs_a_second_shard_and_nothing_else(preflight):
    exit_code, found = preflight()
    assert exit_code == 2
    failed = [row for row in found["rows"] if row["verdict"] == "fail"]
    assert [(row["check"], row["subject"], row["advice"]) for row in failed] == [
        ("shards", "votes", "2 shards needed: PARAMETERS=ShardCount=2")
    ]
    assert found["verdict"] == "fail"


def test_every_part_of_the_target_that_the_flows_use_is_looked_at(preflight):
    exit_code, found = preflight("--scale", "0.1", "--duration-ms", "50")
    assert exit_code == 0, found
    assert {row["check"] for row in found["rows"]} == {
        "load", "credentials", "region", "endpoint", "limits", "clock", "permissions", "function", "timeout", "memory",
        "tracing", "log format", "log group", "dead letters", "reserved concurrency", "account concurrency",
        "api throttle", "api access", "shards", "table capacity", "kms requests", "sns messages", "workers",
        "open files", "ports", "cost",
    }  # fmt: skip
    documented = (Path(__file__).parents[2] / "docs" / "preflight.md").read_text()
    for check in {row["check"] for row in found["rows"]}:
        assert re.search(rf"^\| [^|]*\b{check}\b[^|]*\|", documented, re.MULTILINE), check
    assert set(verdicts(found, "function")) == {
        "place-vote", "tally-votes", "get-results", "shop-accept", "shop-decrypt", "shop-update-db",
    }  # fmt: skip
    assert verdicts(found, "dead letters") == {"tally-votes": "pass", "shop-decrypt": "warn", "shop-update-db": "warn"}
    assert set(verdicts(found, "log group")) == {*verdicts(found, "function"), "access log"}
    assert set(verdicts(found, "api throttle")) == {"stage prod", "account"}
    assert found["cost"]["usd"] > 0


def test_nothing_has_been_sent_but_one_request_to_the_api(preflight, sandbox):
    told(sandbox, "reset", {})
    preflight("--scale", "0.1")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{sandbox}/_sandbox/truth") as answer:
        truth = json.load(answer)
    assert truth["api"]["requests"] == 1
    assert sum(function["invocations"] for function in truth["functions"].values()) == 0


def test_denied_questions_are_rows_and_not_the_end(preflight, sandbox):
    denied = ["lambda:GetFunctionConcurrency", "logs:DescribeLogGroups", "iam:*", "kinesis:*", "apigateway:*"]
    told(sandbox, "faults", {"kind": "deny", "actions": denied})
    exit_code, found = preflight("--scale", "0.1", "--flows", "vote", "--duration-ms", "50")
    assert exit_code == 0
    assert verdicts(found, "reserved concurrency")["place-vote"] == "warn"
    assert verdicts(found, "permissions") == {"load and analysis": "warn", "preflight": "warn"}
    said = {row["finding"] for row in found["rows"] if row["verdict"] == "warn"}
    assert {
        "may not lambda:GetFunctionConcurrency",
        "may not logs:DescribeLogGroups",
        "may not kinesis:DescribeStreamSummary",
        "may not iam:SimulatePrincipalPolicy",
        "may not apigateway:GET",
    } <= said
    assert {row["advice"] for row in found["rows"] if row["finding"] == "may not kinesis:DescribeStreamSummary"} == {
        "needs action kinesis:DescribeStreamSummary, or look it up another way"
    }


def test_what_the_load_may_not_do_fails(preflight, sandbox):
    told(sandbox, "faults", {"kind": "deny", "actions": ["lambda:InvokeFunction"]})
    exit_code, found = preflight("--load-profile", "direct-stages", "--duration-ms", "50")
    assert exit_code == 2
    failed = {(row["check"], row["finding"]) for row in found["rows"] if row["verdict"] == "fail"}
    assert failed == {
        ("endpoint", "may not lambda:InvokeFunction"),
        ("permissions", "the policies do not allow lambda:InvokeFunction"),
    }


@pytest.fixture
def keyed_api(sandbox: str) -> Iterator[str]:
    """An API whose only method asks for a signature and a key; its usage plan: 10 requests a second, 100 a day."""
    apis = client(settings_from({"AWS_ENDPOINT_URL": sandbox}), "apigateway")
    api_id = apis.create_rest_api(name="keyed")["id"]
    root = apis.get_resources(restApiId=api_id)["items"][0]["id"]
    method = {"restApiId": api_id, "resourceId": root, "httpMethod": "POST"}
    apis.put_method(**method, authorizationType="AWS_IAM", apiKeyRequired=True)
    function = "arn:aws:lambda:us-east-1:123456789012:function:swarmscope-place-vote"
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    apis.put_integration(**method, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    apis.create_deployment(restApiId=api_id, stageName="v1")
    plan = apis.create_usage_plan(
        name="partners",
        apiStages=[{"apiId": api_id, "stage": "v1"}],
        throttle={"rateLimit": 10.0, "burstLimit": 20},
        quota={"limit": 100, "period": "DAY"},
    )
    yield f"{sandbox}/restapis/{api_id}/v1/_user_request_"
    apis.delete_usage_plan(usagePlanId=plan["id"])
    apis.delete_rest_api(restApiId=api_id)


@pytest.fixture
def free_key(sandbox: str, keyed_api: str) -> Iterator[str]:
    """The id of a key in another plan of the same stage, without limits."""
    apis = client(settings_from({"AWS_ENDPOINT_URL": sandbox}), "apigateway")
    of_stage = [{"apiId": keyed_api.split("/")[4], "stage": "v1"}]
    plan = apis.create_usage_plan(name="free", apiStages=of_stage)
    key = apis.create_api_key(name="mine", enabled=True)
    apis.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    yield key["id"]
    apis.delete_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"])
    apis.delete_usage_plan(usagePlanId=plan["id"])
    apis.delete_api_key(apiKey=key["id"])


def test_the_id_of_a_key_tells_its_plan_among_several(preflight, keyed_api, free_key):
    known = {"API_BASE_URL": keyed_api, "API_AUTH": "iam", "API_KEY": "k" * 20}
    arguments = ("--load-profile", "burst", "--duration-ms", "50")
    assert set(verdicts(preflight(*arguments, **known)[1], "usage plan")) == {"", "partners", "free"}
    assert verdicts(preflight(*arguments, **known, API_KEY_ID=free_key)[1], "usage plan") == {"free": "pass"}


def test_the_keys_usage_plan_and_the_right_to_sign_are_looked_at(preflight, sandbox, keyed_api):
    told(sandbox, "faults", {"kind": "deny", "actions": ["execute-api:Invoke"]})
    arguments = ("--load-profile", "burst", "--duration-ms", "50")
    exit_code, found = preflight(*arguments, API_BASE_URL=keyed_api, API_AUTH="iam", API_KEY="k" * 20)
    assert exit_code == 2
    failed = [(row["check"], row["subject"], row["finding"]) for row in found["rows"] if row["verdict"] == "fail"]
    assert failed == [
        ("permissions", "load and analysis", "the policies do not allow execute-api:Invoke"),
        ("usage plan", "partners", "10 a second, bucket of 20; 100 planned"),
        ("usage plan", "partners", "100 requests a day, some of which may be spent already; 14,500 planned"),
    ]
    assert verdicts(found, "api access") == {"v1": "pass"}
    assert "k" * 20 not in json.dumps(found)
    exit_code, found = preflight(*arguments, API_BASE_URL=keyed_api)
    failed = [(row["check"], row["finding"]) for row in found["rows"] if row["verdict"] == "fail"]
    assert failed == [
        ("api access", "without an API key of a usage plan of the stage 403 from POST /"),
        ("api access", "without a signature 403 from POST /"),
    ]


def test_expired_credentials_are_one_row_and_this_machine_is_looked_at_all_the_same(preflight, sandbox):
    told(sandbox, "faults", {"kind": "expired_credentials"})
    exit_code, found = preflight("--load-profile", "direct-stages")
    assert exit_code == 2
    failed = [row for row in found["rows"] if row["verdict"] == "fail"]
    assert [row["check"] for row in failed] == ["credentials"]
    assert "expired" in failed[0]["finding"]
    assert {"workers", "open files", "ports", "cost"} <= {row["check"] for row in found["rows"]}


def test_wrong_names_fail_where_they_are_named(preflight):
    exit_code, found = preflight("--load-profile", "direct-stages", QUALIFIER="nope", MAX_USERS="5")
    assert exit_code == 2
    assert verdicts(found, "function")["place-vote:nope"] == "fail"
    assert {row["subject"] for row in found["rows"] if row["finding"].startswith("DryRun of place-vote:nope: 404")}
    assert verdicts(found, "limits") == {"MAX_USERS": "fail"}


def test_profile_that_does_not_exist_is_wrong_usage(sandbox, tmp_path):
    environment = own_environment(tmp_path) | {"AWS_ENDPOINT_URL": sandbox}
    done = CliRunner().invoke(command_line.main, ["preflight", "--load-profile", "nope"], env=environment)
    assert done.exit_code == 2
    assert "PROFILE: no profile 'nope'" in done.stderr


def test_the_table_says_what_fails_first(sandbox, tmp_path):
    environment = own_environment(tmp_path) | {"AWS_ENDPOINT_URL": sandbox}
    done = CliRunner().invoke(command_line.main, ["preflight"], env=environment)
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"Preflight of demo on sandbox · SIMULATED, not AWS: \d+ pass, \d+ warn, 1 fail", lines[0]), (
        done.output
    )
    assert lines[3].startswith("fail   shards")
    assert "What AWS would charge, without free tier: $" in done.stdout


def test_interrupted_it_leaves_nothing(tmp_path):
    environment = own_environment(tmp_path)
    command = [sys.executable, "-m", "control", "preflight"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        endpoint = ""
        for line in process.stderr:
            if started := re.search(r"sandbox started at (http://\S+)", line):
                endpoint = started[1]
                process.send_signal(signal.SIGINT)
                break
        assert process.wait(60) == 130
    assert endpoint
    assert not is_sandbox(endpoint)
    assert list(tmp_path.iterdir()) == []
