import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from control.progress import State, latest_state
from control.sandbox_process import is_sandbox, note_settling, settled_truth, since
from control.smoke import await_change, expected_change, explain
from runstore.rundir import RunDir
from tests.ports import NOBODY


class Clock:
    """Time that only passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_truth_is_taken_when_nothing_is_pending():
    clock, states = Clock(), iter([3, 1, 0])
    truth = settled_truth(lambda: {"pending": next(states)}, 60, clock=clock, sleep=clock.sleep)
    assert truth == {"pending": 0}
    assert clock.now == 0.5


def test_the_truth_is_taken_as_it_stands_at_the_deadline():
    clock = Clock()
    assert settled_truth(lambda: {"pending": 7}, 2, clock=clock, sleep=clock.sleep) == {"pending": 7}
    assert clock.now == 2


def test_what_was_on_its_way_at_the_deadline_is_warned_of(tmp_path):
    """What it completes afterwards would silently count as lost."""
    run = RunDir(tmp_path)
    run.write_json("manifest.json", {"warnings": ["another"]})
    note_settling(run, 1, 35.0, 7.0)
    manifest = run.read_manifest()
    assert manifest["warnings"][0] == "another"
    assert manifest["warnings"][1].startswith("1 delivery or retry was still on the way 35 s after the run: ")
    assert "settled_at" not in manifest


def test_a_run_of_which_nothing_is_on_its_way_is_settled(tmp_path):
    run = RunDir(tmp_path)
    run.write_json("manifest.json", {"warnings": []})
    note_settling(run, 0, 35.0, 7.0)
    manifest = run.read_manifest()
    assert (manifest["settled_at"], manifest["warnings"]) == (7.0, [])


def test_what_happened_between_two_truths_is_their_difference():
    before = {"api": {"requests": 10, "by_status": {"200": 10}}, "pending": 0}
    after = {"api": {"requests": 15, "by_status": {"200": 12, "502": 3}}, "chains": {"shop": {"sent": 2}}, "pending": 4}
    assert since(before, after) == {
        "api": {"requests": 5, "by_status": {"200": 2, "502": 3}},
        "chains": {"shop": {"sent": 2}},
        "pending": 4,
    }


def test_where_nothing_listens_there_is_no_sandbox():
    assert not is_sandbox(f"http://127.0.0.1:{NOBODY}")


def test_a_sandbox_that_is_late_with_its_answer_is_there():
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        found = pool.submit(is_sandbox, f"http://127.0.0.1:{server.getsockname()[1]}")
        connection, _ = server.accept()
        with connection:
            with pytest.raises(TimeoutError):
                found.result(3)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert found.result(60)


def record(item: str, number: int, turnover: int) -> dict[str, object]:
    return {
        "shop_id": "smoke",
        "record_type": item,
        "gross_number": number,
        "gross_turnover": turnover,
        "stock": -number,
    }


BEFORE = [record("s-90001", 10, 10)]
ARRIVED = [record("s-90001", 15, 15), record("s-90002", 1, 2)]


def test_one_message_adds_two_records():
    assert expected_change(1) == {
        "s-90001": {"gross_number": 5, "gross_turnover": 5, "stock": -5},
        "s-90002": {"gross_number": 1, "gross_turnover": 2, "stock": -1},
    }


def test_a_message_has_arrived_once_the_table_changed_by_exactly_what_it_holds():
    clock, looks = Clock(), iter([BEFORE, [record("s-90001", 15, 15)], ARRIVED])
    assert await_change(BEFORE, lambda: next(looks), expected_change(1), 60, clock=clock, sleep=clock.sleep) is None
    assert clock.now == 1.0


def test_records_that_stay_as_they_are_do_not_matter():
    other = record("s-00001", 1, 1)
    clock = Clock()
    assert await_change([*BEFORE, other], lambda: [*ARRIVED, other], expected_change(1), 0, clock=clock) is None


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (BEFORE, "s-90001 gross_number: changed by 0, expected 5"),
        ([record("s-90001", 20, 20), record("s-90002", 2, 4)], "s-90001 gross_number: changed by 10, expected 5"),
        ([*ARRIVED, record("s-90003", 1, 1)], "s-90003: not expected at all"),
    ],
)
def test_anything_else_has_not_arrived_and_says_what_is_different(after, told):
    clock = Clock()
    change = await_change(BEFORE, lambda: after, expected_change(1), 5, clock=clock, sleep=clock.sleep)
    assert change is not None
    assert told in explain(change, expected_change(1))


HEADER = b"Timestamp,User Count,Type,Name,Requests/s,Total Request Count,Total Failure Count\n"


def test_the_state_of_a_run_is_the_last_whole_aggregated_line(tmp_path):
    file = tmp_path / "history.csv"
    file.write_bytes(HEADER + b"1,10,,Aggregated,1,100,2\n2,20,POST,/vote,1,7,7\n3,30,,Aggregated,1,300,4\n4,40,,Aggr")
    assert latest_state(file) == State(users=30, requests=300, failures=4)


@pytest.mark.parametrize("content", [None, b"", HEADER])
def test_a_run_without_history_has_no_state(tmp_path, content):
    file = tmp_path / "history.csv"
    if content is not None:
        file.write_bytes(content)
    assert latest_state(file) is None
