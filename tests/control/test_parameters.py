"""What a command line comes to before a run: template parameters, workers."""

import pytest
from click.testing import CliRunner

from config.errors import ConfigError
from config.settings import settings_from
from control import __main__ as command_line
from control import orchestrate, run_request, target


@pytest.fixture
def requested(monkeypatch):
    """The request that a command line comes to."""
    seen = []
    monkeypatch.setattr(orchestrate, "load", lambda request, *rest: seen.append(request) or 0)

    def run(*arguments, **environment):
        done = CliRunner().invoke(command_line.main, arguments, env=environment)
        return done, (seen[-1].parameters if seen else None)

    return run


def test_profile_that_plans_to_cost_too_much_is_refused():
    """1,000 users for ten minutes, one vote each 0.96 s, of $3.70 a million and more."""
    with pytest.raises(ConfigError, match=r"MAX_COST_USD: profile vote-stress plans up to [\d,]+ requests"):
        run_request.check(run_request.Request("vote-stress"), {"MAX_COST_USD": "1"})


def test_parameters_come_by_option(requested):
    assert requested("load", "--parameter", "ShardCount=2", "--parameter", "LogLevel=DEBUG")[1] == {
        "ShardCount": "2",
        "LogLevel": "DEBUG",
    }


def test_parameters_come_by_variable(requested):
    assert requested("load", PARAMETERS="ShardCount=2 LogLevel=DEBUG")[1] == {"ShardCount": "2", "LogLevel": "DEBUG"}


def test_a_parameter_without_a_value_is_refused(requested):
    done, _ = requested("load", "--parameter", "ShardCount")
    assert done.exit_code == 2
    assert "NAME=VALUE" in done.output


@pytest.mark.parametrize(
    ("variables", "description"),
    [({}, {"StackStatus": "CREATE_COMPLETE"}), ({"TARGET": "aws", "AWS_REGION": "eu-west-1"}, None)],
    ids=["a stack that is there", "a target that is no sandbox"],
)
def test_a_run_never_changes_a_stack(monkeypatch, variables, description):
    monkeypatch.setattr(target, "cloud_for", lambda settings: None)
    monkeypatch.setattr(target, "describe", lambda cloud, name: description)
    with pytest.raises(ConfigError, match="PARAMETERS: ShardCount=2 is for a sandbox that the run starts"):
        target.find_resources(settings_from(variables), ["vote"], print, {"ShardCount": "2"})


def test_counted_messages_are_not_for_workers():
    with pytest.raises(ConfigError, match="WORKERS: not with profile perf, which counts its messages"):
        run_request.check(run_request.Request("perf", workers="2"), {})


def test_more_messages_in_a_call_than_a_service_takes_are_refused():
    with pytest.raises(ConfigError, match="EVENT_BATCH: '11'"):
        run_request.check(run_request.Request("smoke"), {"EVENT_BATCH": "11"})
