"""`control alarms`: which alarms there are, and that ours alone are touched."""

import json
import time
import urllib.request
from dataclasses import replace

import pytest
from click.testing import CliRunner

from config.aws import client
from config.errors import ConfigError
from config.metric_limits import AlarmRule, MetricLimit, MetricLimits, load_metric_limits
from config.settings import settings_from
from control import alarms
from control.__main__ import main as control
from control.alarms import Watched, WatchedFunction
from control.deploy import deploy

TOPIC = "arn:aws:sns:us-east-1:123456789012:told"
PLACE_VOTE = WatchedFunction(
    "load-place-vote", timeout_s=15, concurrency=1000, reads_stream=False, has_dead_letters=False
)
API = {"kind": "rest", "id": "a1b2c3d4e5", "name": "load", "stage": "prod"}


def made(function: WatchedFunction = PLACE_VOTE, limits: MetricLimits | None = None, topic: str | None = None):
    watched = Watched({"place-vote": function}, API)
    return {
        alarm.name.removeprefix("swarmscope/load/"): alarm.request
        for alarm in alarms.alarms_for("load", watched, limits or load_metric_limits(), topic)
    }


def test_what_a_function_and_the_api_are_watched_for():
    assert list(made()) == [
        *("place-vote/Errors", "place-vote/Throttles", "place-vote/Duration", "place-vote/ConcurrentExecutions"),
        "api/5XXError",
    ]


def test_a_stream_and_dead_letters_are_watched_where_a_function_has_them():
    assert {"place-vote/IteratorAge", "place-vote/DeadLetterErrors"} <= set(
        made(replace(PLACE_VOTE, reads_stream=True, has_dead_letters=True))
    )


def test_a_share_of_the_time_limit_is_milliseconds():
    duration = made()["place-vote/Duration"]
    assert (duration["Threshold"], duration["Statistic"], duration["ComparisonOperator"]) == (
        *(12_000, "Maximum", "GreaterThanThreshold"),
    )


def test_a_share_of_what_is_not_known_makes_no_alarm():
    assert "place-vote/ConcurrentExecutions" not in made(replace(PLACE_VOTE, concurrency=None))


def test_one_throttle_is_one_too_many():
    throttles = made()["place-vote/Throttles"]
    assert (throttles["Threshold"], throttles["DatapointsToAlarm"], throttles["EvaluationPeriods"]) == (0, 1, 5)


def test_a_topic_is_told_when_it_rings_and_when_it_ends():
    assert all(alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC] for alarm in made(topic=TOPIC).values())


def test_an_http_api_has_its_own_names():
    api = {**API, "kind": "http"}
    (alarm,) = alarms.alarms_for("load", Watched({}, api), load_metric_limits(), None)
    part = alarm.request["Metrics"][1]["MetricStat"]["Metric"]
    assert part["MetricName"] == "5xx"
    assert part["Dimensions"] == [{"Name": "ApiId", "Value": "a1b2c3d4e5"}, {"Name": "Stage", "Value": "prod"}]


def test_limits_that_make_no_alarm_are_all_told():
    limits = MetricLimits(
        functions={
            "Throttles": MetricLimit(target="== 0", alert="!= 0"),
            "Duration": MetricLimit(target="> 1s", left_of="timeout", alert="< 100ms"),
        }
    )
    with pytest.raises(ConfigError) as wrong:
        made(limits=limits)
    assert [problem.partition(" makes no alarm")[0] for problem in wrong.value.problems] == [
        "METRIC_LIMITS: functions.Throttles: '!= 0'",
        "METRIC_LIMITS: functions.Duration: `left_of`",
    ]


@pytest.mark.parametrize(
    "rule", [{"period": "90s"}, {"period": "10s"}, {"datapoints": 6}, {"period": "30m", "out_of": 60}]
)
def test_rules_that_cloudwatch_refuses_are_refused(rule):
    with pytest.raises(ValueError, match="alarms: "):
        AlarmRule.model_validate(rule)


def test_a_changed_limit_is_an_update_that_says_what_differs():
    there = {f"swarmscope/load/{name}": {**request, "StateValue": "OK"} for name, request in made().items()}
    watched = Watched({"place-vote": replace(PLACE_VOTE, timeout_s=30)}, API)
    changes = alarms.plan(alarms.alarms_for("load", watched, load_metric_limits(), None), there)
    assert [(change.name.rpartition("/")[2], change.differing) for change in changes if change.action != "keep"] == [
        ("Duration", ("Threshold",))
    ]


def test_what_is_no_longer_watched_is_deleted():
    there = {f"swarmscope/load/{name}": request for name, request in made().items()}
    changes = alarms.plan(alarms.alarms_for("load", Watched({}, API), load_metric_limits(), None), there)
    assert [change.action for change in changes] == ["keep", "delete", "delete", "delete", "delete"]


class Interrupted(Exception):
    pass


def test_interrupted_at_any_point_the_next_one_makes_what_is_missing():
    """A CloudWatch that keeps what it is told, and fails at its n-th call."""

    class CloudWatch:
        def __init__(self) -> None:
            self.there: dict[str, dict] = {}
            self.left = 0

        def put_metric_alarm(self, Tags=(), **request):
            self._call()
            self.there[request["AlarmName"]] = request

        def delete_alarms(self, AlarmNames):
            self._call()
            for name in AlarmNames:
                del self.there[name]

        def _call(self) -> None:
            if self.left == 0:
                raise Interrupted
            self.left -= 1

    wanted = alarms.alarms_for("load", Watched({"place-vote": PLACE_VOTE}, API), load_metric_limits(), None)
    for calls in range(len(wanted) + 1):
        cloudwatch = CloudWatch()
        cloudwatch.there["swarmscope/load/gone/Errors"] = {"AlarmName": "swarmscope/load/gone/Errors"}
        cloudwatch.left = calls
        with pytest.raises(Interrupted):
            alarms.carry_out(cloudwatch, alarms.plan(wanted, cloudwatch.there), "load", lambda line: None)
        cloudwatch.left = 100
        alarms.carry_out(cloudwatch, alarms.plan(wanted, cloudwatch.there), "load", lambda line: None)
        assert {name: dict(request) for name, request in cloudwatch.there.items()} == {
            alarm.name: dict(alarm.request) for alarm in wanted
        }


@pytest.fixture(scope="module")
def watched(sandbox):
    """A stack whose alarms these are."""
    deploy(settings_from({"AWS_ENDPOINT_URL": sandbox, "STACK_NAME": "watched"}), {}, lambda line: None)


@pytest.fixture
def run(sandbox, watched):
    """Run `control alarms …` against the sandbox, and leave no alarm behind."""

    def run(*arguments: str) -> str:
        environment = {"AWS_ENDPOINT_URL": sandbox, "STACK_NAME": "watched", "TARGET": "sandbox"}
        done = CliRunner().invoke(control, ["alarms", *arguments], env=environment)
        assert done.exit_code == 0, done.output
        return done.stdout

    yield run
    run("delete")


def test_it_plans_creates_once_and_deletes_only_ours(run, sandbox):
    cloudwatch = client(settings_from({"AWS_ENDPOINT_URL": sandbox}), "cloudwatch")
    theirs = dict(next(iter(made().values())), AlarmName="swarmscope/watched-by-others/x")
    cloudwatch.put_metric_alarm(**theirs)
    planned = run("plan")
    assert "43 to create, 0 unchanged" in planned
    assert "would create   tally-votes/IteratorAge" in planned
    assert run("create", "--dry-run") == planned
    assert run("create") == "43 created, 0 unchanged\n"
    assert run("create") == "43 unchanged\n"
    assert run("delete") == "43 deleted, 0 unchanged\n"
    assert [alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]] == [theirs["AlarmName"]]
    cloudwatch.delete_alarms(AlarmNames=[theirs["AlarmName"]])


def test_the_state_is_what_the_metrics_say(run, sandbox):
    run("create")
    cloudwatch = client(settings_from({"AWS_ENDPOINT_URL": sandbox}), "cloudwatch")
    for name, value in (("Throttles", 1), ("Invocations", 100), ("Errors", 1)):
        cloudwatch.put_metric_data(
            Namespace="AWS/Lambda",
            MetricData=[
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": "FunctionName", "Value": "watched-place-vote"}],
                    "Timestamp": time.time() - 120,
                    "Value": value,
                }
            ],
        )
    ringing = [line.split() for line in run("list").splitlines() if line.startswith("ALARM")]
    assert [line[3] for line in ringing] == ["place-vote/Throttles"]


def test_a_missing_permission_names_the_policy_that_has_it(sandbox, watched):
    def faults(method: str, document: object = None) -> None:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{sandbox}/_sandbox/faults", body, method=method)
        urllib.request.urlopen(request, timeout=60).read()

    environment = {"AWS_ENDPOINT_URL": sandbox, "STACK_NAME": "watched", "TARGET": "sandbox"}
    faults("POST", {"kind": "deny", "actions": ["cloudwatch:PutMetricAlarm"]})
    try:
        done = CliRunner().invoke(control, ["alarms", "create"], env=environment)
    finally:
        faults("DELETE")
    assert done.exit_code == 2
    assert "cloudwatch:PutMetricAlarm" in done.stderr
    assert "alarms" in done.stderr
