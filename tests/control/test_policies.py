"""The IAM policies allow what the code really calls, and nothing more; a sandbox says what that is.

Another command is one more step below: which roles it takes, and how to run it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from policy_sentry.querying.actions import get_action_data

from analysis import table_snapshot
from analysis.__main__ import main as analysis
from analysis.deployment import describe
from analysis.insights import Window, group_exists, run_query
from analysis.log_groups import of_target
from config.aws import client, process_environment
from config.settings import Settings, settings_from
from control import deploy, policies
from control.__main__ import main as control
from control.preflight.facts import ApiAddress
from control.preflight.gateway import address_of
from control.preflight.questions import Questions
from control.processes import ROOT
from control.provisioned.versions import ArmVersions
from control.sandbox_process import SandboxProcess
from control.smoke import read_shop
from control.stack_outputs import RunTarget
from control.target import find_resources
from control.temporary_versions.journal import Found, Journal

pytestmark = pytest.mark.timeout(600)  # every command one after another, on a machine that may be slow

ACCOUNT, REGION, STACK = "123456789012", "us-east-1", "load"
FLOWS = ("vote", "shop", "direct", "events")
UNSEEN = {"s3:DeleteObjectVersion", "cloudwatch:TagResource"}
"""A DeleteObjects call needs the one beside s3:DeleteObject where it names versions, PutMetricAlarm the other where it
names tags; the sandbox tells one action a call."""
PREFLIGHT = ["preflight", "--flows", ",".join((*FLOWS, "custom")), "--scale", "0.1", "--duration-ms", "100", "--json"]
TUNE = [
    *("tune", "--function", "shop-decrypt", "--memory", "128,256", "--num", "20", "--concurrency", "4"),
    *("--apply", "--promote", "live"),
]
MODEL = "[logs]\ningestion_lag_s = 0.1\ninsights_latency_s = 0.1\n"


@dataclass
class World:
    """A sandbox with the stack, and what was called of it by whom."""

    settings: Settings
    folder: Path
    resources: RunTarget | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """Of a run against the stack."""
    called: dict[tuple[str, ...], set[tuple[str, str]]] = field(default_factory=dict)
    """Roles -> (IAM action, resource)."""

    def do(self, roles: tuple[str, ...], step: Callable[[World], object]) -> None:
        """Take a step, and note what it called."""
        before = self._counts()
        step(self)
        after = self._counts()
        new = {call for call, count in after.items() if count > before.get(call, 0)}
        self.called.setdefault(roles, set()).update(new)

    def _counts(self) -> dict[tuple[str, str], int]:
        with urllib.request.urlopen(f"{self.settings.endpoint_url}/_sandbox/calls", timeout=60) as answer:
            calls = json.load(answer)["calls"]
        return {(call["action"], call["resource"]): call["count"] for call in calls if call["action"] is not None}

    def command(self, roles: tuple[str, ...], group: Any, *arguments: str) -> None:
        """Take a step that is a command of ours."""

        def run(world: World) -> None:
            done = CliRunner().invoke(group, arguments, env=self.environment)
            assert done.exit_code == 0, done.output

        self.do(roles, run)


def deploy_and_change(world: World) -> None:
    deploy.deploy(world.settings, {}, lambda line: None)
    deploy.deploy(world.settings, {"ShardCount": "2"}, lambda line: None)
    assert not deploy._has_api_logs_role(world.settings)  # asked on AWS


def ask_for_signatures(world: World) -> None:
    """Have the API take votes from those only who may call it."""
    apis = client(world.settings, "apigateway")
    (api,) = apis.get_rest_apis()["items"]
    resources = {found["path"]: found["id"] for found in apis.get_resources(restApiId=api["id"], limit=500)["items"]}
    vote = {"restApiId": api["id"], "resourceId": resources["/vote"], "httpMethod": "POST"}
    uri = apis.get_integration(**vote)["uri"]
    apis.put_method(**vote, authorizationType="AWS_IAM")
    apis.put_integration(**vote, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)


def give_a_key(world: World) -> None:
    """In a usage plan of the stage, with a quota."""
    apis = client(world.settings, "apigateway")
    (api,) = apis.get_rest_apis()["items"]
    of_stage = [{"apiId": api["id"], "stage": "prod"}]
    plan = apis.create_usage_plan(name="load", apiStages=of_stage, quota={"limit": 10**9, "period": "DAY"})
    key = apis.create_api_key(name="load", enabled=True)
    apis.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    world.environment["API_KEY_ID"] = key["id"]


def follow_a_custom_domain(world: World) -> None:
    questions = Questions(lambda service: client(world.settings, service))
    found = address_of(questions, "https://api.example.com/v1/vote")
    assert isinstance(found, ApiAddress)


def have_a_custom_domain(world: World) -> None:
    apis = client(world.settings, "apigateway")
    (api,) = apis.get_rest_apis()["items"]
    apis.create_domain_name(domainName="api.example.com", endpointConfiguration={"types": ["REGIONAL"]})
    apis.create_base_path_mapping(domainName="api.example.com", basePath="v1", restApiId=api["id"], stage="prod")


def get_ready(world: World) -> None:
    """What a run does before Locust starts."""
    world.resources = resources = find_resources(world.settings, FLOWS, lambda line: None)
    dynamodb = client(world.settings, "dynamodb")
    table_snapshot.take(dynamodb, resources.tables, 0.0)
    read_shop(dynamodb, resources.tables["shops"])
    own = {
        "STACK_NAME": STACK,
        "TARGET": "sandbox",
        "RUNS_DIR": str(world.folder),
        "PYTHONPATH": str(ROOT),
        "API_AUTH": "iam",
        "API_KEY": "k" * 20,
        "CUSTOM_FLOW": str(ROOT / "examples" / "custom" / "flow.toml"),
        "CUSTOM_METRICS": "MyShop",
    }
    world.environment.update(process_environment(world.settings, os.environ) | resources.environment() | own)


def run_locust(world: World) -> None:
    """Every flow, and by flow custom every transport."""
    files = ",".join(str(ROOT / "locustfiles" / f"{flow}.py") for flow in (*FLOWS, "custom"))
    command = [sys.executable, "-m", "locust", "-f", files, "--headless", "-u", "10", "-r", "10", "-t", "4s"]
    subprocess.run(command, env=world.environment, cwd=world.folder, check=False, capture_output=True, timeout=120)


def look_at_the_stack(world: World) -> None:
    """As the analysis does of a run that was started by `control`: at its tables, limits, and log groups."""
    resources = world.resources
    assert resources is not None
    table_snapshot.take(client(world.settings, "dynamodb"), resources.tables, 0.0)
    describe(lambda service: client(world.settings, service), resources.manifest())
    of_target(world.settings, client(world.settings, "cloudformation"))


def give_a_query_up(world: World) -> None:
    def give_up(seconds: float) -> None:
        raise KeyboardInterrupt

    logs, now = client(world.settings, "logs"), int(time.time())
    with pytest.raises(KeyboardInterrupt):
        group = f"/aws/lambda/{STACK}-place-vote"
        assert group_exists(logs, group)
        run_query(logs, [group], "fields @message", Window(now - 60, now), clock=time.monotonic, sleep=give_up)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("policies")
    (folder / "model.toml").write_text(MODEL)
    process = SandboxProcess.start(folder / "log", ["--model", str(folder / "model.toml")])
    made = World(settings_from({"AWS_ENDPOINT_URL": process.endpoint, "STACK_NAME": STACK}), folder)
    try:
        made.do(("deploy",), deploy_and_change)
        ask_for_signatures(made)
        give_a_key(made)
        have_a_custom_domain(made)
        give_an_alias(made)
        made.do(("load",), get_ready)
        made.command(("load", "analysis"), control, *PREFLIGHT)
        made.do(("analysis",), follow_a_custom_domain)
        for _ in range(5):  # each request's kind is chosen at random, and a slow machine sends few
            made.do(("load",), run_locust)
            if not uncalled(made, "load"):
                break
        made.command(("analysis",), analysis, "analyze", "latest")
        made.command(("analysis",), analysis, "query", "errors", "--since", "1h")
        made.do(("analysis",), look_at_the_stack)
        made.do(("analysis",), give_a_query_up)
        del made.environment["SHOP_PUBLIC_KEY"]  # who tunes has it from KMS
        made.command(("tuning",), control, *TUNE)
        made.do(("tuning",), provision)
        made.command(("alarms",), control, "alarms", "create")
        made.command(("alarms",), control, "alarms", "delete")
        leave_an_alarm(made)
        made.do(("deploy",), lambda world: deploy.destroy(world.settings, lambda line: None))
        yield made
    finally:
        process.stop()


def give_an_alias(world: World) -> None:
    """To a function, for it to be moved."""
    functions, name = client(world.settings, "lambda"), f"{STACK}-shop-decrypt"
    version = functions.publish_version(FunctionName=name)["Version"]
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion=version)


def provision(world: World) -> None:
    """As `provisioned` does around its runs of load."""
    name = f"{STACK}-place-vote"
    function = ArmVersions.of(world.settings, client(world.settings, "lambda"), name)
    latest, folder = function.configuration(), world.folder / "provisioned"
    folder.mkdir()
    place = ("sandbox", REGION, world.settings.endpoint_url, False)
    found = Found(folder.name, *place, name, latest["MemorySize"], latest["CodeSha256"], tuple(function.published()))
    journal = Journal.create(folder, found)
    published = function.publish_arms(["provisioned"], journal)
    function.provision(published["provisioned"][0], 1, journal)
    function.take_back(journal)


def leave_an_alarm(world: World) -> None:
    """For destroying to find."""
    client(world.settings, "cloudwatch").put_metric_alarm(
        AlarmName=f"swarmscope/{STACK}/left",
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
    )


def policy(role: str) -> dict[str, Any]:
    return policies.policy(role, ACCOUNT, REGION, STACK)


def own_actions(role: str) -> set[str]:
    return {action for statement in policies.own_statements(policy(role)) for action in statement["Action"]}


def uncalled(world: World, role: str) -> set[str]:
    """Actions of a role that nobody has needed so far."""
    called = {action for roles, calls in world.called.items() if role in roles for action, _ in calls}
    return own_actions(role) - called - UNSEEN


@pytest.mark.parametrize("role", policies.ROLES)
def test_everything_that_is_called_is_allowed(world, role):
    refused = [
        call
        for roles, calls in world.called.items()
        if role in roles
        for call in sorted(calls)
        if not policies.allows(map(policy, roles), *call)
    ]
    assert refused == []


def test_the_preflight_has_asked_what_is_left_of_the_keys_quota_and_where_a_domain_leads(world):
    asked = {resource.rpartition("/")[2] for calls in world.called.values() for _, resource in calls}
    assert {"usage", "basepathmappings", "apimappings"} <= asked


@pytest.mark.parametrize("role", policies.ROLES)
def test_nothing_is_allowed_that_is_not_called(world, role):
    assert uncalled(world, role) == set()


def test_what_the_template_makes_is_cloudformations_to_make():
    template = (ROOT / "stack" / "template.yaml").read_text()
    services = {service.lower() for service in re.findall(r"Type: AWS::(\w+)::", template)}
    for_cloudformation = {
        action.partition(":")[0]
        for statement in policy("deploy")["Statement"]
        if statement not in policies.own_statements(policy("deploy"))
        for action in statement["Action"]
    }
    assert services - {"cloudformation"} == for_cloudformation - {"s3"}


@pytest.mark.parametrize("role", policies.ROLES)
def test_actions_exist_and_take_the_resources_that_are_named(role):
    """By the Service Authorization Reference, as policy_sentry has it."""
    for statement in policy(role)["Statement"]:
        for action in statement["Action"]:
            service, _, name = action.partition(":")
            known = get_action_data(service, name)
            assert known, action
            if statement["Resource"] == "*" or name == "*":
                continue
            formats = {data["resource_arn_format"] for data in known[service]} - {"*"}
            services = {form.split(":")[2] for form in formats}
            assert services & {arn.split(":")[2] for arn in statement["Resource"]}, f"{action} takes no such resource"


@pytest.mark.parametrize("role", policies.ROLES)
def test_a_policy_is_small_enough_to_be_attached(role):
    """IAM quotas: 6,144 characters for a managed policy, without white space."""
    longest = policies.policy(role, ACCOUNT, "ap-southeast-2", "a-stack-with-a-name-of-40-characters-load")
    assert len(json.dumps(longest, separators=(",", ":"))) <= 6_144


@pytest.mark.parametrize(
    ("action", "command", "roles"),
    [
        ("cloudformation:DescribeStacks", "tune", ["tuning"]),
        ("cloudformation:DescribeStacks", "load", ["analysis", "load"]),
        ("s3:PutObject", "load", ["deploy"]),
        ("ec2:RunInstances", "load", []),
    ],
)
def test_a_missing_permission_is_looked_for_where_the_command_has_its_own(action, command, roles):
    assert policies.roles_that_allow(action, command) == roles


@pytest.mark.parametrize("role", policies.ROLES)
def test_a_policy_is_printed_for_the_stack(role):
    done = CliRunner().invoke(control, ["policy", role, "--account", ACCOUNT], env={"STACK_NAME": STACK})
    assert json.loads(done.output) == policy(role)
