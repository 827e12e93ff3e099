"""A tuning run that is interrupted or killed at any step leaves nothing, or nothing that --clean does not take back."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from control.temporary_versions.errors import LeftoversError
from control.temporary_versions.journal import FILE, Found, Journal, open_journals
from control.tuning.payloads import Payload
from tests.control.tuned import TuningLab

FUNCTION = "topic-consumer"
STEPS = (
    "update_function_configuration",  # to the value
    "publish_version",
    "create_alias",
    "update_function_configuration",  # back
    "delete_alias",
    "delete_function",
)
KEEPING_STEPS = (*STEPS[:4], "update_alias", "update_function_configuration", "delete_alias")
"""With --promote and --apply: the version stays."""
CHANGES = frozenset(KEEPING_STEPS) | {"delete_function"}


class KilledError(BaseException):
    """The process is gone: nothing of it runs any more, so every call of a dead client raises this again."""


class MortalClient:
    """boto3's client; at one of the changes it makes something happens."""

    def __init__(self, client: Any, step: int, what: BaseException, *, before: bool) -> None:
        self.changes: list[str] = []
        self._client, self._step, self._what, self._before = client, step, what, before
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        if self.dead:
            raise self._what
        call = getattr(self._client, name)
        if name not in CHANGES:
            return call

        def changing(**arguments: Any) -> Any:
            self.changes.append(name)
            hit = len(self.changes) == self._step + 1
            if hit and self._before:
                self._strike()
            answer = call(**arguments)
            if hit:
                self._strike()
            return answer

        return changing

    def _strike(self) -> None:
        self.dead = isinstance(self._what, KilledError)
        raise self._what


@pytest.fixture(scope="module")
def lab() -> TuningLab:
    """With a live alias on a version of the function's own."""
    lab = TuningLab()
    name = lab.name(FUNCTION)
    lab.client.publish_version(FunctionName=name, Description="mine")
    lab.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return lab


@pytest.fixture
def unchanged(lab: TuningLab) -> Iterator[None]:
    before = lab.state(FUNCTION)
    yield
    assert lab.state(FUNCTION) == before


def run(lab: TuningLab, directory: Path, client: Any = None, **plan: Any) -> Any:
    return lab.tune(FUNCTION, directory, client=client, memory_mb=(256,), **{"rounds": 1} | plan)


def test_a_run_that_goes_well_makes_these_changes_and_leaves_nothing(lab, unchanged, tmp_path):
    client = MortalClient(lab.client, 99, KilledError(), before=True)
    run(lab, tmp_path / "run", client)
    assert tuple(client.changes) == STEPS
    assert open_journals(tmp_path) == []


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_what_a_killed_run_left_is_taken_back_by_its_journal(lab, unchanged, tmp_path, step):
    client = MortalClient(lab.client, step, KilledError(), before=False)
    with pytest.raises(KilledError):
        run(lab, tmp_path / "run", client)
    [journal] = open_journals(tmp_path)
    lab.versions(FUNCTION).take_back(journal)
    assert open_journals(tmp_path) == []


@pytest.mark.parametrize("step", range(len(STEPS) - 2))
def test_an_interrupted_run_takes_everything_back_itself(lab, unchanged, tmp_path, step):
    client = MortalClient(lab.client, step, KeyboardInterrupt(), before=step % 2 == 0)
    with pytest.raises(KeyboardInterrupt):
        run(lab, tmp_path / "run", client)
    assert open_journals(tmp_path) == []


class ExpiringClient(MortalClient):
    """From one of its changes on nothing is answered any more but that the credentials have expired."""

    def _strike(self) -> None:
        self.dead = True
        raise self._what


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_credentials_that_expire_on_the_way_are_told_and_what_is_left_is_taken_back(lab, unchanged, tmp_path, step):
    expired = ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "m"}}, "PublishVersion")
    client = ExpiringClient(lab.client, step, expired, before=True)
    with pytest.raises(
        LeftoversError, match=r"credentials have expired[^\n]+`python -m control tune --clean`.+\nhint: "
    ):
        run(lab, tmp_path / "run", client)
    [journal] = open_journals(tmp_path)
    lab.versions(FUNCTION).take_back(journal)
    assert open_journals(tmp_path) == []


def test_a_run_ends_when_its_own_invocations_have_cost_as_much_as_they_may(lab, unchanged, tmp_path):
    """Each costs 0.2 millionths of a dollar as a request, and its compute."""
    result = run(lab, tmp_path / "run", rounds=12, max_cost_usd=2e-6, promote="live")
    assert result.cut_short == "MAX_COST_USD=2e-06 is spent"
    assert 2e-6 < result.run_usd < 4e-6
    assert result.figures[0].invocations < 10
    assert (result.kept, "all invocations were made" in failed(result)) == ([], True)


def failed(result: Any) -> list[str]:
    return [check.name for check in result.checks if not check.passed]


class SignalledClient(MortalClient):
    """Its process gets a Ctrl-C at that change."""

    def _strike(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_while_it_takes_back_waits_until_that_is_done(lab, unchanged, tmp_path):
    client = SignalledClient(lab.client, STEPS.index("delete_alias"), KilledError(), before=True)
    with pytest.raises(KeyboardInterrupt):
        run(lab, tmp_path / "run", client)
    assert open_journals(tmp_path) == []


def test_a_function_error_stops_its_value_and_nothing_is_left(lab, unchanged, tmp_path):
    bad = Payload(b'{"Records":[{"Sns":{"MessageId":"m","Message":"no order"}}]}')
    result = run(lab, tmp_path / "run", rounds=5, payloads=[bad])
    [value] = result.figures
    assert (value.failure, value.invocations, value.duration_ms) == ("ValueError: the message is not JSON", 1, None)
    assert result.choice is None


def test_who_may_not_delete_is_told_that_something_is_left(lab, unchanged, tmp_path):
    """Taking back is tried again by whoever may; what was done already does not matter."""
    refusal = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DeleteFunction")
    with pytest.raises(LeftoversError, match=r"not allowed: DeleteFunction.*--clean"):
        run(lab, tmp_path / "run", MortalClient(lab.client, STEPS.index("delete_function"), refusal, before=True))
    [journal] = open_journals(tmp_path)
    [line] = lab.versions(FUNCTION).take_back(journal)
    assert re.fullmatch(r"version \d+ \(256 MB\) deleted", line)


def test_a_memory_that_somebody_else_set_meanwhile_stays(lab, tmp_path):
    name = lab.name(FUNCTION)
    with pytest.raises(KilledError):
        run(lab, tmp_path / "run", MortalClient(lab.client, 0, KilledError(), before=False))
    lab.versions(FUNCTION).configuration()
    lab.client.update_function_configuration(FunctionName=name, MemorySize=192)
    [journal] = open_journals(tmp_path)
    assert lab.versions(FUNCTION).take_back(journal) == [
        "$LATEST has 192 MB, which this run did not set: left as it is"
    ]
    lab.versions(FUNCTION).configuration()
    lab.client.update_function_configuration(FunctionName=name, MemorySize=128)
    lab.versions(FUNCTION).configuration()


@pytest.fixture(scope="module")
def promoted(lab: TuningLab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run with --promote and --apply; the state that it leaves, which is taken back."""
    directory = tmp_path_factory.mktemp("promoted") / "run"
    client = MortalClient(lab.client, 99, KilledError(), before=True)
    result = run(lab, directory, client, rounds=12, promote="live", apply=True)
    state = lab.state(FUNCTION)
    put_back(lab)
    return {"result": result, "changes": client.changes, "state": state}


def put_back(lab: TuningLab) -> None:
    """What a run has kept, as it was asked to."""
    name = lab.name(FUNCTION)
    lab.versions(FUNCTION).configuration()
    lab.client.update_alias(FunctionName=name, Name="live", FunctionVersion="1")
    lab.client.update_function_configuration(FunctionName=name, MemorySize=128)
    lab.versions(FUNCTION).configuration()
    for version in lab.state(FUNCTION)["versions"].keys() - {"$LATEST", "1"}:
        lab.client.delete_function(FunctionName=name, Qualifier=version)


def test_a_promoted_version_and_an_applied_memory_stay(promoted):
    """And nothing else."""
    state = promoted["state"]
    version = state["aliases"]["live"]
    assert promoted["changes"] == list(KEEPING_STEPS)
    assert state["aliases"] == {"live": version}
    assert set(state["versions"]) == {"$LATEST", "1", version}
    assert (state["versions"][version][0], state["versions"]["$LATEST"][0]) == (256, 256)
    assert promoted["result"].kept == [f"alias live points to version {version} with 256 MB", "$LATEST has 256 MB"]
    assert failed(promoted["result"]) == []


@pytest.mark.parametrize("step", [4, 5])
def test_a_run_killed_while_it_keeps_things_leaves_what_was_asked_for(lab, unchanged, tmp_path, step):
    """What the alias was moved to is not deleted under it."""
    client = MortalClient(lab.client, step, KilledError(), before=False)
    with pytest.raises(KilledError):
        run(lab, tmp_path / "run", client, rounds=12, promote="live", apply=True)
    [journal] = open_journals(tmp_path)
    lab.versions(FUNCTION).take_back(journal)
    state = lab.state(FUNCTION)
    put_back(lab)
    assert list(state["aliases"]) == ["live"]
    assert state["versions"][state["aliases"]["live"]][0] == 256
    assert state["versions"]["$LATEST"][0] == (256 if step == 5 else 128)


def test_a_journal_cut_off_in_its_first_line_means_that_nothing_was_changed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / FILE).write_text('{"journal":1,"run_id":"x","tar')
    assert open_journals(tmp_path) == []


def test_a_line_after_one_that_was_cut_off_is_whole(lab, tmp_path):
    journal = Journal.create(tmp_path, Found("r", "aws", "eu-west-1", None, False, "f", 128, "code", ("1",)))
    journal.about_to("set_memory", memory_mb=256)
    with journal.path.open("a") as file:
        file.write('{"about_to":"publ')
    journal.about_to("set_memory", memory_mb=512)
    read = Journal.read(journal.path)
    assert read is not None
    assert (read.noted("set_memory", "memory_mb"), read.closed, read.found) == ([256, 512], False, journal.found)
    journal.close()
    closed = Journal.read(journal.path)
    assert closed is not None
    assert closed.closed
