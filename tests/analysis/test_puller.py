from __future__ import annotations

import csv
import json
import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from botocore.exceptions import ClientError

from analysis.errors import TargetError
from analysis.insights import LogGroupNotFoundError, QueryFailedError
from analysis.log_queries import CORRELATION, ERROR, EVENTS, REPORT
from analysis.puller import Patience, Puller, Reading, Scope
from analysis.requests_table import create_requests
from analysis.slice_files import saved
from runstore.columns import REQUEST_COLUMNS
from tests.analysis.fake_logs import FakeLogs, FakeTime

START = 1_791_000_000
GROUP = "/aws/lambda/place-vote"
STREAM = "2026/10/03/[$LATEST]0123456789abcdef0123456789abcdef"
PATIENCE = Patience(lag_s=5.0, quiet_s=4.0, retry_s=30.0, poll_s=1.0, deadline_s=120.0, metrics_s=15.0)
RNG = random.Random()


def request_id() -> str:
    return str(uuid.UUID(int=RNG.getrandbits(128), version=4))


def log_stream() -> str:
    return f"2026/10/03/[$LATEST]{RNG.getrandbits(128):032x}"


def report(identity: str) -> str:
    return (
        f"REPORT RequestId: {identity}\tDuration: 10.00 ms\tBilled Duration: 10 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 70 MB\t\n"
    )


def json_report(identity: str) -> str:
    record = {"requestId": identity, "metrics": {"durationMs": 10.0, "billedDurationMs": 10}, "status": "success"}
    return json.dumps({"time": "2026-10-03T20:36:17.500Z", "type": "platform.report", "record": record}) + "\n"


class Run:
    """A run of a few seconds: its requests, its logs, and a clock that stands at the end of it."""

    def __init__(self, directory: Path, seconds: int = 10) -> None:
        self.directory, self.seconds = directory, seconds
        self.time = FakeTime(START + seconds)
        self.logs = FakeLogs(self.time)
        self.requests: list[dict[str, Any]] = []
        self.access_log_group: str | None = None
        self.groups = {"place-vote": GROUP}
        self.required: frozenset[str] = frozenset()
        self.settled_at: float | None = None
        self.ends_before = START + 10_000.0
        self.form = report

    def invoke(self, at: float, group: str = GROUP, lag_s: float = 0.0, known: bool = True, **columns: Any) -> str:
        identity = request_id()
        if known:
            row = {"started_at": at - 0.01, "response_ms": 10.0, "lambda_request_id": identity, "status": 200} | columns
            self.requests.append(row)
        self.logs.add(group, at, self.form(identity), log_stream(), lag_s)
        return identity

    def puller(self, **options: Any) -> Puller:
        path = self.directory / "requests-0.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, REQUEST_COLUMNS, restval="")
            writer.writeheader()
            for number, row in enumerate(self.requests, 1):
                writer.writerow({"worker": 0, "seq": number, "ok": 1, "phase": "measure", "name": "/vote"} | row)
        db = duckdb.connect()
        create_requests(db, [path])
        counts: dict[int, int] = {}
        for row in self.requests:
            counts[int(row["started_at"])] = counts.get(int(row["started_at"]), 0) + 1
        scope = Scope(
            groups=self.groups,
            access_log_group=self.access_log_group,
            required=self.required,
            started_at=float(START),
            ended_at=float(START + self.seconds),
            ends_before=self.ends_before,
            settled_at=self.settled_at,
        )
        options = {"concurrency": 1, "clock": self.time.clock, "sleep": self.time.sleep} | options
        patience = options.pop("patience", PATIENCE)
        return Puller(self.logs, scope, self.directory / "pull", db, counts, patience, **options)

    def pull(self, **options: Any) -> Reading:
        return self.puller(**options).read()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    RNG.seed(7)  # each test has the same ids, whichever ran before it
    return Run(tmp_path)


def messages(reading: Reading, pattern: str = REPORT) -> list[str]:
    """What was read, each event once."""
    files = reading.files(EVENTS)
    if not files:
        return []
    found = duckdb.execute(
        "SELECT DISTINCT ON (log_group, ptr) message FROM read_parquet($1) WHERE regexp_matches(message, $2)",
        [[str(file) for file in files], pattern],
    )
    return sorted(message for (message,) in found.fetchall())


def test_everything_a_run_wrote_is_read_and_nothing_else(run: Run) -> None:
    inside = [report(run.invoke(START + second + 0.5)) for second in range(10)]
    run.logs.add(GROUP, START - 5, report(request_id()), STREAM)
    run.logs.add(GROUP, START + 3, "[ERROR] KeyError: 'x'\nTraceback (most recent call last):\n", STREAM)
    run.logs.add(GROUP, START + 3, '{"swarmscope": 1, "correlation_id": "c"}\n', STREAM)
    run.logs.add(GROUP, START + 3, "INFO hello\n", STREAM)
    reading = run.pull()
    assert messages(reading) == sorted(inside)
    assert [len(messages(reading, pattern)) for pattern in (ERROR, CORRELATION)] == [1, 1]
    assert reading.doubts == []


def test_it_waits_for_the_lag_before_it_believes_what_it_read(run: Run) -> None:
    run.invoke(START + 9.5, lag_s=4.0)
    reading = run.pull()
    assert len(messages(reading)) == 1
    # the end of the run, silence after it, and the time logs take
    assert run.time.now == pytest.approx(START + 10 + 4 + 5, abs=2)
    assert reading.watched_until == pytest.approx(run.time.now - 5, abs=1)


def test_background_work_after_the_run_is_waited_for(run: Run) -> None:
    run.invoke(START + 1)
    run.groups["tally"] = "/aws/lambda/tally"
    for second in (11, 14, 17.5, 21):
        run.invoke(START + second, "/aws/lambda/tally", known=False)
    reading = run.pull()
    assert len(messages(reading)) == 5
    assert reading.doubts == []


def test_known_to_be_settled_it_waits_for_the_lag_only(run: Run) -> None:
    run.settled_at = START + 10.0
    run.invoke(START + 9.5)
    run.pull()
    assert run.time.now == pytest.approx(START + 10 + 5, abs=1)


def test_logs_of_what_went_on_until_it_was_settled_are_waited_for(run: Run) -> None:
    run.settled_at = run.time.now = START + 30.0
    run.invoke(START + 9.5)
    run.invoke(START + 29.9, known=False, lag_s=4.0)
    assert len(messages(run.pull())) == 2


def test_a_lag_longer_than_thought_is_noticed_by_what_is_absent(run: Run) -> None:
    """The client knows the front function's invocations, and so the others' logs are waited for as well."""
    run.groups["tally"] = "/aws/lambda/tally"
    for second in range(10):
        run.invoke(START + second + 0.5, lag_s=40.0)
        run.invoke(START + second + 0.7, "/aws/lambda/tally", lag_s=40.0, known=False)
    reading = run.pull()
    assert len(messages(reading)) == 20
    assert reading.doubts == []
    assert reading.lag_s > 35


def test_a_lag_of_five_minutes_on_some_rows_is_waited_out_and_told(run: Run) -> None:
    for second in range(10):
        run.invoke(START + second + 0.5, lag_s=300.0 if second == 4 else 1.0)
    reading = run.pull(patience=replace(PATIENCE, deadline_s=900.0))
    assert len(messages(reading)) == 10 and reading.doubts == []
    assert reading.lag_s > 290


def test_after_the_deadline_it_says_what_is_missing(run: Run) -> None:
    run.invoke(START + 1)
    run.invoke(START + 2, lag_s=1_000.0)
    reading = run.pull()
    assert len(messages(reading)) == 1
    assert len(reading.doubts) == 1 and "1 invocations that are known of have no REPORT line" in reading.doubts[0]
    assert run.time.now == pytest.approx(START + 10 + PATIENCE.deadline_s, abs=2)


def test_functions_that_never_stop_writing_are_said_after_the_deadline(run: Run) -> None:
    for second in range(300):
        run.invoke(START + second, known=second < 10)
    assert any("still writing" in doubt for doubt in run.pull().doubts)


def correlated(run: Run, method: str, **line: str) -> None:
    """A request whose correlation id stands in the line of an invocation that was reported under another id."""
    identity = run.invoke(START + 1, known=False)
    logged = {"swarmscope": 1, "correlation_id": "c1", "request_id": identity, **line}
    run.logs.add(GROUP, START + 1, json.dumps(logged), STREAM)
    answered = {"started_at": START + 1, "response_ms": 1, "lambda_request_id": request_id(), "status": 200}
    run.requests.append({**answered, "correlation_id": "c1", "method": method})


def test_an_invoke_that_was_reported_under_another_id_is_known_by_its_correlation_line(run: Run) -> None:
    correlated(run, "Invoke")
    assert run.pull().doubts == []


@pytest.mark.parametrize(("method", "line"), [("POST", {}), ("Invoke", {"message_id": "m1"})], ids=["named", "hop"])
def test_a_line_that_may_be_a_later_hops_excuses_no_absent_report(run: Run, method: str, line: dict[str, str]) -> None:
    correlated(run, method, **line)
    assert "1 invocations that are known of have no REPORT line" in run.pull().doubts[0]


def test_refused_invocations_are_not_waited_for(run: Run) -> None:
    run.invoke(START + 1)
    run.requests.append(
        {"started_at": START + 2, "response_ms": 1, "lambda_request_id": request_id(), "status": 429, "ok": 0}
    )
    assert run.pull().doubts == []


def test_invocations_that_only_the_access_log_knows_are_waited_for(run: Run) -> None:
    run.access_log_group = "/aws/apigateway/access"
    identity = run.invoke(START + 1, lag_s=30.0, known=False)
    run.logs.add(
        run.access_log_group,
        START + 1,
        f'{{"requestId": "{request_id()}", "integrationRequestId": "{identity}", "status": "502", '
        f'"lambdaServiceStatus": "200", "requestTimeEpoch": "{START}000"}}',
        "0123abcd",
    )
    refused = f'{{"integrationRequestId": "{request_id()}", "status": "500", "lambdaServiceStatus": "429"}}'
    run.logs.add(run.access_log_group, START + 1, refused, "0123abcd")
    reading = run.pull()
    assert len(messages(reading)) == 1
    assert reading.doubts == []


def test_a_line_of_the_access_log_that_lags_behind_its_report_is_waited_for(run: Run) -> None:
    """One answered by a function at 1 s; one that the API refused, which is logged or not; one of another API."""
    run.access_log_group = "/aws/apigateway/access"
    for number, lag_s in enumerate((0.0, 60.0)):
        known = {"method": "POST", "request_id": f"g{number}"}
        identity = run.invoke(START + 1 + number, **known)
        line = f'{{"requestId": "g{number}", "integrationRequestId": "{identity}", "status": "200"}}'
        run.logs.add(run.access_log_group, START + 1 + number, line, "0123abcd", lag_s)
    refused = {"method": "POST", "request_id": "g8", "status": 413, "lambda_request_id": ""}
    other = {"method": "POST", "request_id": "g9", "name": "/other"}
    run.requests += [{"started_at": START + 1, "response_ms": 9.0} | row for row in (refused, {"status": 200} | other)]
    reading = run.pull(patience=replace(PATIENCE, deadline_s=300.0))
    assert sum(one.rows for one in reading.answers if one.piece.query == "access") == 2
    assert reading.doubts == [] and reading.lag_s > 50


def test_a_failed_background_invocation_may_come_again(run: Run) -> None:
    run.groups["decrypt"] = "/aws/lambda/decrypt"
    run.invoke(START + 9)
    run.invoke(START + 9.5, "/aws/lambda/decrypt", known=False)
    run.logs.add("/aws/lambda/decrypt", START + 9.5, "[ERROR] KeyError: 'x'\nTraceback", STREAM)
    run.invoke(START + 30, "/aws/lambda/decrypt", known=False)
    assert len(messages(run.pull())) == 3


def test_a_failure_of_the_function_the_client_calls_is_not_waited_for(run: Run) -> None:
    run.invoke(START + 9)
    run.logs.add(GROUP, START + 9, "[ERROR] KeyError: 'x'\nTraceback", STREAM)
    run.pull()
    assert run.time.now < START + 10 + 4 + 5 + 2


def test_one_query_reads_the_groups_of_all_functions(run: Run) -> None:
    run.groups["tally"] = "/aws/lambda/tally"
    run.settled_at = START + 10.0
    run.time.now += 100
    everything = [report(run.invoke(START + 1)), report(run.invoke(START + 2, "/aws/lambda/tally", known=False))]
    reading = run.pull()
    assert messages(reading) == sorted(everything)
    assert [sorted(query["logGroupNames"]) for query in run.logs.queries] == [[GROUP, "/aws/lambda/tally"]] * 2
    found = duckdb.execute(
        "SELECT function, log_group FROM read_parquet($1) ORDER BY 1", [[str(file) for file in reading.files(EVENTS)]]
    )
    assert found.fetchall() == [("place-vote", GROUP), ("tally", "/aws/lambda/tally")]


def test_a_group_that_comes_to_be_while_the_logs_are_waited_for_is_read(run: Run) -> None:
    run.groups["late"] = "/aws/lambda/late"
    run.invoke(START + 9.5)

    def makes_the_group(arguments: dict[str, Any]) -> None:
        if run.time.now > START + 12 and "/aws/lambda/late" not in run.logs.groups:
            run.invoke(START + 11.5, "/aws/lambda/late", known=False)

    run.logs.failing = makes_the_group
    reading = run.pull()
    assert len(messages(reading)) == 2 and list(reading.missing_groups) == []


@pytest.mark.parametrize("form", [report, json_report])
def test_a_full_slice_is_cut_by_time_and_then_by_request_id(run: Run, form: Callable[[str], str]) -> None:
    """60 rows within one second, 10 rows to an answer; in log groups of either format."""
    run.form = form
    everything = [form(run.invoke(START + 2 + number / 100)) for number in range(60)]
    everything += [form(run.invoke(START + 7.5)) for _ in range(3)]
    reading = run.pull(limit=10)
    assert messages(reading) == sorted(everything)
    assert reading.doubts == []
    assert any(one.piece.slice.request_prefix for one in reading.answers)


def test_an_event_that_names_two_requests_is_read_once_in_a_crowded_second(run: Run) -> None:
    """Its own id, and that of a call which AWS refused."""
    run.settled_at = START + 10.0
    run.time.now += 100
    for _ in range(12):
        run.invoke(START + 0.5)
    refused = {"errorType": "Throttled", "$metadata": {"requestId": f"e{request_id()[1:]}"}}
    failed = {"level": "ERROR", "requestId": f"1{request_id()[1:]}", "message": refused}
    run.logs.add(GROUP, START + 0.5, json.dumps(failed), log_stream())
    assert sum(one.rows for one in run.pull(limit=10).answers) == 13


@pytest.mark.parametrize("identity", ["eXaMpLe=", "e", "eeee", "Example=", ""], ids=repr)
def test_an_id_that_stops_being_hexadecimal_is_in_a_part_as_well(run: Run, identity: str) -> None:
    """Beside 30 others of its second that all begin with an e: that part is too much for one answer too."""
    run.settled_at = START + 10.0
    run.time.now += 100
    for _ in range(30):
        run.logs.add(GROUP, START + 0.5, report(f"e{request_id()[1:]}"), log_stream())
    odd = json.dumps({"errorType": "KeyError", "requestId": identity})
    run.logs.add(GROUP, START + 0.5, odd, log_stream())
    assert messages(run.pull(limit=20), "KeyError") == [odd]


def test_what_a_pull_took_is_told(run: Run) -> None:
    """Ten rows to an answer: two of six seconds are too full for one."""
    run.settled_at = START + 10.0
    run.time.now += 100
    for number in range(12):
        run.invoke(START + 2 + number / 12)
        run.invoke(START + 7 + number / 12)
    told: list[tuple[int, int]] = []
    reading = run.pull(limit=10, watch=lambda progress: told.append((progress.done, progress.slices)))
    assert reading.progress.rows == 24
    assert reading.progress.queries == len(run.logs.queries)
    assert reading.progress.wasted == len(run.logs.queries) - len(reading.answers)
    assert reading.progress.bytes_scanned is not None and reading.progress.bytes_scanned > 240
    assert told[0][0] == 0 and told[-1] == (1, 1)  # the last thing asked is the time after the run
    assert max(done for done, _ in told) == len(reading.answers) - 1


def test_what_was_asked_for_too_early_is_told_apart_and_its_rows_count_once(run: Run) -> None:
    """Two slices of five seconds, of which a line comes a minute late in the one: both are read again."""
    for second in range(10):
        run.invoke(START + second + 0.5, lag_s=60.0 if second == 4 else 1.0)
    told: list[int] = []
    reading = run.pull(limit=50, watch=lambda progress: told.append(progress.rows))
    progress = reading.progress
    assert len(reading.answers) == 3 and progress.rows == 10 == max(told)
    assert progress.queries == len(run.logs.queries) > 3
    assert (progress.wasted, progress.replaced) == (0, progress.queries - 3)


def test_what_an_earlier_pull_asked_for_too_early_is_not_counted_as_this_ones(run: Run) -> None:
    run.settled_at = START + 10.0
    run.ends_before = START + 10.0
    late = run.invoke(START + 4.5, lag_s=20.0)
    assert run.pull(patience=replace(PATIENCE, deadline_s=6.0)).doubts
    run.logs.queries.clear()
    reading = run.pull()
    assert messages(reading) == [report(late)]
    progress = reading.progress
    assert (progress.queries, progress.replaced) == (len(run.logs.queries), len(run.logs.queries) - 1)


def test_crowded_streams_of_another_name_are_read_as_well(run: Run) -> None:
    run.invoke(START + 1)
    for number in range(60):
        run.logs.add(GROUP, START + 2.5, f"[ERROR] KeyError: '{number}'\nTraceback", log_stream())
    run.logs.add(GROUP, START + 2.5, "[ERROR] KeyError: 'no hex'\nTraceback", "a stream of another name")
    assert len(messages(run.pull(limit=10), ERROR)) == 61


def test_an_answer_shorter_than_what_matched_is_cut_although_it_is_under_the_limit(run: Run) -> None:
    run.logs.row_limit = 20  # a target that gives fewer rows than it was asked for
    everything = [report(run.invoke(START + second / 10)) for second in range(100)]
    assert messages(run.pull()) == sorted(everything)


def test_a_query_that_times_out_is_asked_for_in_parts(run: Run) -> None:
    run.settled_at = START + 10.0
    run.time.now += 10
    everything = [report(run.invoke(START + second + 0.5)) for second in range(10)]
    run.logs.longest_s = 5
    run.ends_before = START + 15.0
    reading = run.pull()
    assert messages(reading) == sorted(everything) and reading.doubts == []
    assert [one[:2] for one in asked(run)] == [
        (START, START + 10),
        (START, START + 5),
        (START + 5, START + 10),
        (START + 10, START + 15),
    ]
    assert (reading.progress.queries, reading.progress.wasted) == (4, 1)


def test_a_query_that_times_out_however_short_it_is_ends_the_pull(run: Run) -> None:
    run.invoke(START + 1)
    run.logs.longest_s = 0
    with pytest.raises(QueryFailedError, match="ended as Timeout"):
        run.pull()


def crowd_one_stream(run: Run) -> None:
    run.invoke(START + 1)
    for number in range(12):
        run.logs.add(GROUP, START + 2.5, f"[ERROR] KeyError: '{number}'\nTraceback", STREAM)


def test_where_cutting_does_not_help_more_rows_are_asked_for(run: Run) -> None:
    crowd_one_stream(run)
    reading = run.pull(limit=10)
    assert len(messages(reading, ERROR)) == 12 and reading.doubts == []


def test_what_no_query_gives_whole_is_in_doubt(run: Run) -> None:
    run.settled_at = START + 10.0
    run.logs.row_limit = 10
    crowd_one_stream(run)
    assert any("cut off" in doubt for doubt in run.pull(limit=10).doubts)


def test_what_is_in_no_part_of_a_slice_is_in_doubt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve ids of one second begin with 0 to 9, a and b; the parts are those of the decimal digits and the rest."""
    run.settled_at = START + 10.0
    run.time.now += 100
    monkeypatch.setattr("analysis.slices.DIGITS", "0123456789")
    for digit in "0123456789ab":
        run.logs.add(GROUP, START + 0.5, report(f"{digit}{request_id()[1:]}"), log_stream())
    doubt = f"2 of the events of {GROUP} between {START} and {START + 1} are in no part of that slice"
    assert run.pull(limit=10).doubts == [doubt]


@pytest.mark.parametrize("whole_second", [True, False])
def test_events_at_the_edges_of_slices_come_once(run: Run, whole_second: bool) -> None:
    """However the target reads the end of a window: as its first instant or as the whole second."""
    run.logs.end_is_whole_second = whole_second
    everything = [report(run.invoke(START + second / 8)) for second in range(80)]
    reading = run.pull(limit=20)
    assert messages(reading) == sorted(everything)


@pytest.mark.parametrize("without", ["gives_ptr", "gives_statistics"])
def test_targets_that_give_less_are_read_as_well(run: Run, without: str) -> None:
    setattr(run.logs, without, False)
    everything = [report(run.invoke(START + second / 8)) for second in range(80)]
    assert messages(run.pull(limit=20)) == sorted(everything)


@pytest.mark.parametrize("killed_at", range(1, 11))
def test_a_pull_killed_at_any_query_asks_again_for_nothing_it_has(run: Run, killed_at: int) -> None:
    everything = [report(run.invoke(START + second / 8)) for second in range(80)]
    run.settled_at = START + 10.0
    run.time.now += 100

    def kills(arguments: dict[str, Any]) -> None:
        if len(run.logs.queries) == killed_at:
            raise KeyboardInterrupt

    run.logs.failing = kills
    with pytest.raises(KeyboardInterrupt):
        run.pull(limit=100)
    kept = {(one.piece.slice.start, one.piece.slice.end) for one in saved(run.directory / "pull")}
    assert len(kept) >= killed_at - 1
    run.logs.failing = None
    run.logs.queries.clear()
    assert messages(run.pull(limit=100)) == sorted(everything)
    assert not {(one["startTime"], one["endTime"]) for one in run.logs.queries} & kept


def crowd_one_second(run: Run) -> list[str]:
    """150 invocations within the first of ten seconds, long ago; -> their REPORT lines."""
    run.settled_at = START + 10.0
    run.time.now += 100
    return [report(run.invoke(START + number / 200)) for number in range(150)]


def test_a_whole_pull_that_is_started_again_asks_only_for_what_came_since(run: Run) -> None:
    everything = crowd_one_second(run)
    run.pull(limit=20)
    run.logs.queries.clear()
    reading = run.pull(limit=20)
    assert messages(reading) == sorted(everything)
    assert [query["startTime"] for query in run.logs.queries] == [START + 10]
    assert (reading.progress.queries, reading.progress.wasted) == (1, 0)


def asked(run: Run) -> list[tuple[int, int, str]]:
    return [(query["startTime"], query["endTime"], query["queryString"]) for query in run.logs.queries]


def test_a_pull_that_ended_in_a_cut_second_asks_for_the_rest_of_it_alone(run: Run) -> None:
    """By digits the second takes seventeen queries; the tenth of them is killed."""
    everything = crowd_one_second(run)

    def kills(arguments: dict[str, Any]) -> None:
        if sum(query.count("| filter") == 2 for _, _, query in asked(run)) == 10:
            raise KeyboardInterrupt

    run.logs.failing = kills
    with pytest.raises(KeyboardInterrupt):
        run.pull(limit=20)
    first_nine = [one for one in asked(run) if one[2].count("| filter") == 2][:9]
    whole = [one for one in asked(run) if one[2].count("| filter") == 1]
    run.logs.failing = None
    run.logs.queries.clear()
    assert messages(run.pull(limit=20)) == sorted(everything)
    assert not {*first_nine, *whole} & {*asked(run)}


def test_where_more_rows_were_asked_for_they_are_not_asked_for_again(run: Run) -> None:
    run.settled_at = START + 10.0
    run.time.now += 100
    crowd_one_stream(run)
    run.pull(limit=10)
    run.logs.queries.clear()
    assert len(messages(run.pull(limit=10), ERROR)) == 12
    assert len(run.logs.queries) == 1


def test_what_was_found_full_is_not_asked_for_again_when_its_parts_are(run: Run) -> None:
    """A line comes half a minute late: the run is read several times."""
    for number in range(60):
        run.invoke(START + number / 100, lag_s=30.0 if number == 0 else 0.0)
    assert len(messages(run.pull(limit=10))) == 60
    of_the_run = [one for one in asked(run) if one[:2] == (START, START + 10)]
    assert len(of_the_run) == 1


def test_a_broken_file_of_an_earlier_pull_is_fetched_again(run: Run) -> None:
    run.invoke(START + 1)
    run.pull()
    for path in (run.directory / "pull").glob("events-*"):
        path.write_bytes(b"PAR1 half a file")
    assert len(messages(run.pull())) == 1


def test_a_group_of_a_function_that_was_never_invoked_may_be_missing(run: Run) -> None:
    run.groups["results"] = "/aws/lambda/results"
    run.invoke(START + 1)
    reading = run.pull()
    assert reading.doubts == [] and list(reading.missing_groups) == ["/aws/lambda/results"]


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.groups.update({"place-vote": "/aws/lambda/elsewhere"}),
        lambda run: (
            run.groups.update({"x": "/aws/lambda/elsewhere"}),
            setattr(run, "required", {"/aws/lambda/elsewhere"}),
        ),
    ],
    ids=["the only one", "one that was named"],
)
def test_a_group_that_must_exist_is_an_error_that_names_it(run: Run, change: Callable[[Run], Any]) -> None:
    run.invoke(START + 1)
    change(run)
    with pytest.raises(LogGroupNotFoundError) as missing:
        run.pull()
    for part in ("/aws/lambda/elsewhere", "eu-west-1", "LOG_GROUPS"):
        assert part in str(missing.value)


def test_no_access_ends_the_pull_at_once(run: Run) -> None:
    def refuses(arguments: dict[str, Any]) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "StartQuery")

    run.invoke(START + 1)
    run.logs.failing = refuses
    with pytest.raises(TargetError, match="not allowed: StartQuery"):
        run.pull()


def test_many_queries_at_once_lose_nothing(run: Run) -> None:
    everything = [report(run.invoke(START + second / 20)) for second in range(200)]
    run.time.now += 100
    assert messages(run.pull(limit=20, concurrency=8)) == sorted(everything)


def test_a_late_pull_does_not_take_in_what_came_much_later(run: Run) -> None:
    run.time.now += 5_000
    run.ends_before = START + 100.0
    run.invoke(START + 1)
    run.invoke(START + 50, known=False)
    run.invoke(START + 400, known=False)
    assert len(messages(run.pull())) == 2
