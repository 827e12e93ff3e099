"""Which request is paired with which invocation, and by what."""

import csv

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import requests_table
from analysis.evidence import open_evidence
from analysis.join import UNJOINED_COLUMNS, join, write_unjoined
from analysis.whole_lines import DamagedLineError


@pytest.fixture
def joined(build):
    """Join what was built; -> (coverage, {seq: (matched_by, Lambda request id)})."""

    def run():
        db, coverage = build.join()
        pairs = db.execute("SELECT seq, matched_by, inv_request_id FROM joined ORDER BY row").fetchall()
        return coverage, {seq: (by, inv) for seq, by, inv in pairs}

    return run


def test_the_answer_names_the_invocation(build, joined):
    build.request(lambda_request_id="l1")
    build.invocation(request_id="l1")
    assert joined()[1] == {1: ("lambda_request_id", "l1")}


def test_a_direct_invokes_request_id_is_the_invocations(build, joined):
    build.request(method="Invoke", name="place-vote", request_id="l1")
    build.invocation(request_id="l1")
    assert joined()[1] == {1: ("lambda_request_id", "l1")}


def test_the_access_log_leads_from_the_clients_id_to_the_invocation(build, joined):
    build.request(request_id="g1")
    build.access(request_id="g1", lambda_request_id="l1")
    build.invocation(request_id="l1")
    assert joined()[1] == {1: ("access_log", "l1")}


def test_a_correlation_line_names_its_invocation(build, joined):
    build.request(request_id="g1")
    build.correlation(gateway_request_id="g1", request_id="l1")
    build.invocation(request_id="l1")
    assert joined()[1] == {1: ("correlation_line", "l1")}


def test_a_correlation_line_without_an_id_belongs_to_the_next_report_of_its_stream(build, joined):
    build.request(request_id="g1")
    build.invocation(0.9, request_id="before")
    build.correlation(1.0, gateway_request_id="g1")
    build.invocation(1.1, request_id="other-stream", log_stream="b")
    build.invocation(1.2, request_id="l1")
    build.invocation(1.3, request_id="after")
    assert joined()[1] == {1: ("correlation_line", "l1")}


def test_a_line_logged_in_the_very_millisecond_of_its_report_belongs_to_it(build, joined):
    build.request(request_id="g1")
    build.correlation(1.0, gateway_request_id="g1")
    build.invocation(1.0, request_id="l1")
    assert joined()[1] == {1: ("correlation_line", "l1")}


def test_a_correlation_line_names_its_invocation_by_the_payloads_id_too(build, joined):
    # An emulator may answer an Invoke with an id of its own.
    build.request(
        method="Invoke", name="place-vote", request_id="its own", lambda_request_id="its own", correlation_id="c1"
    )
    build.correlation(correlation_id="c1", request_id="l1")
    build.invocation(request_id="l1")
    assert joined()[1] == {1: ("correlation_line", "l1")}


def test_of_a_chain_under_one_correlation_id_the_first_answered(build, joined):
    build.request(correlation_id="c1")
    for at, function in ((1.0, "accept"), (2.0, "decrypt")):
        build.correlation(at, function=function, correlation_id="c1", request_id=function)
        build.invocation(at, function=function, request_id=function)
    assert joined()[1] == {1: ("correlation_line", "accept")}


@pytest.mark.parametrize(
    ("method", "line"), [("SendMessage", {}), ("POST", {"message_id": "m1"})], ids=["sent", "delivered"]
)
def test_what_a_message_started_answered_no_request_of_its_correlation_id(build, joined, method, line):
    build.request(method=method, correlation_id="c1")
    build.correlation(correlation_id="c1", request_id="l1", **line)
    build.invocation(request_id="l1")
    assert joined()[1] == {1: (None, None)}


def test_a_trace_pairs_as_a_last_resort(build, joined):
    build.request(trace_id="1-a-b")
    build.invocation(request_id="l1", xray_trace_id="1-a-b")
    assert joined()[1] == {1: ("trace_id", "l1")}


def test_of_a_chain_under_one_trace_the_first_answered(build, joined):
    build.request(trace_id="1-a-b")
    build.invocation(1.5, function="shop-decrypt", request_id="l2", xray_trace_id="1-a-b")
    build.invocation(1.0, function="shop-accept", request_id="l1", xray_trace_id="1-a-b")
    assert joined()[1] == {1: ("trace_id", "l1")}


def test_what_a_message_started_answered_no_request(build, joined):
    """The front's REPORT is not there; the later hop keeps the trace, and must not be taken for the front."""
    build.request(trace_id="1-a-b")
    build.invocation(1.5, function="shop-decrypt", request_id="l2", xray_trace_id="1-a-b")
    build.correlation(1.4, function="shop-decrypt", request_id="l2", message_id="m1")
    assert joined()[1] == {1: (None, None)}


def test_stronger_evidence_goes_first(build, joined):
    build.request(request_id="g1", lambda_request_id="l1", trace_id="1-a-b")
    build.access(request_id="g1", lambda_request_id="l2")
    build.invocation(1.0, request_id="l1")
    build.invocation(1.1, request_id="l2", xray_trace_id="1-a-b")
    assert joined()[1] == {1: ("lambda_request_id", "l1")}


def test_weaker_evidence_does_not_take_what_stronger_has_paired(build, joined):
    build.request(lambda_request_id="l1", trace_id="1-a-b")
    build.request(trace_id="1-a-b")
    build.invocation(request_id="l1", xray_trace_id="1-a-b")
    coverage, pairs = joined()
    assert pairs == {1: ("lambda_request_id", "l1"), 2: (None, None)}
    assert (coverage.unmatched_requests, coverage.ambiguous) == (1, 0)


@pytest.mark.parametrize("named_by", ["the answer", "the access log"])
@pytest.mark.parametrize("leading", [{"trace_id": "1-a-b"}, {"correlation_id": "c1"}], ids=["trace", "correlation"])
def test_without_the_report_of_the_named_invocation_weaker_evidence_leads_to_no_other(build, joined, named_by, leading):
    by_answer = {"lambda_request_id": "l1"} if named_by == "the answer" else {}
    build.request(request_id="g1", **by_answer, **leading)
    build.access(request_id="g1", lambda_request_id="l1")
    build.correlation(function="further-down", correlation_id="c1", request_id="l2")
    build.invocation(function="further-down", request_id="l2", xray_trace_id="1-a-b")
    assert joined()[1] == {1: (None, None)}


def test_a_report_that_is_missing_is_the_reason(build, tmp_path):
    build.request(lambda_request_id="l1", trace_id="1-a-b")
    build.invocation(request_id="l2", xray_trace_id="1-a-b")
    db, _ = build.join()
    write_unjoined(db, tmp_path / "unjoined.csv")
    with (tmp_path / "unjoined.csv").open(newline="") as file:
        (request,) = csv.DictReader(file)
    assert request["reason"] == "the logs have no REPORT of its invocation"


def test_what_the_access_log_names_does_not_hinder_the_others(build, joined):
    build.request(request_id="g1", trace_id="1-a-b")
    build.request(request_id="g2", trace_id="1-a-c")
    build.access(request_id="g1", lambda_request_id="l1")
    build.access(request_id="g2")
    build.invocation(request_id="l2", xray_trace_id="1-a-c")
    assert joined()[1] == {1: (None, None), 2: ("trace_id", "l2")}


def test_two_requests_with_one_id_are_set_aside(build, joined):
    build.request(request_id="g1")
    build.request(request_id="g1")
    build.access(request_id="g1", lambda_request_id="l1")
    build.invocation(request_id="l1")
    coverage, pairs = joined()
    assert pairs == {1: (None, None), 2: (None, None)}
    assert (coverage.requests, coverage.matched, coverage.ambiguous, coverage.unmatched_requests) == (2, 0, 2, 0)


def test_one_request_that_leads_to_two_invocations_is_set_aside(build, joined):
    """A client's retry under one id: which of the two answered it, nobody can tell."""
    build.request(request_id="g1", trace_id="1-a-b")
    build.access(1.0, request_id="g1", lambda_request_id="l1")
    build.access(1.1, request_id="g1", lambda_request_id="l2")
    build.invocation(1.0, request_id="l1", xray_trace_id="1-a-b")
    build.invocation(1.1, request_id="l2")
    coverage, pairs = joined()
    assert pairs == {1: (None, None)}
    assert coverage.ambiguous == 1


def test_the_same_access_log_line_twice_is_no_ambiguity(build, joined):
    build.request(request_id="g1")
    build.access(request_id="g1", lambda_request_id="l1")
    build.access(request_id="g1", lambda_request_id="l1")
    build.invocation(request_id="l1")
    assert joined()[1] == {1: ("access_log", "l1")}


def test_of_a_retried_event_the_last_attempt_counts(build, joined):
    build.request(method="Invoke", status=202, request_id="l1")
    build.invocation(1.0, 20, request_id="l1", status="error")
    build.invocation(9.0, 33, request_id="l1")
    db, coverage = build.join()
    assert db.execute("SELECT inv_duration_ms FROM joined").fetchall() == [(33.0,)]
    assert (coverage.invocations, coverage.unmatched_invocations) == (2, 0)


def test_an_init_that_the_answer_told_is_known_without_the_logs(build):
    build.request(seq=1, method="Invoke", request_id="a", init_ms=156.08)
    build.request(seq=2, method="Invoke", request_id="b", init_ms=156.08)
    build.invocation(request_id="b", init_ms=156.1)
    inits = build.joined().execute("SELECT inv_init_ms FROM joined ORDER BY seq").fetchall()
    assert inits == [(156.08,), (156.1,)]


def test_dropped_arrivals_are_not_looked_for(build, joined):
    build.request(at=None, ms=None, status=None, error="dropped", scheduled_at=1795255201.0, trace_id="1-a-b")
    build.invocation(request_id="l1", xray_trace_id="1-a-b")
    coverage, pairs = joined()
    assert pairs == {1: (None, None)}
    assert (coverage.requests, coverage.unmatched_requests) == (0, 0)


def test_empty_ids_never_match_each_other(build, joined):
    build.request()
    build.access()
    build.correlation()
    build.invocation()
    assert joined()[1] == {1: (None, None)}


def test_what_was_refused_has_not_reached_a_function(build, joined):
    build.request(status=429, ok=0, request_id="g1")
    build.request(status=500, ok=0, request_id="g2")
    build.access(request_id="g2", integration_status=429, lambda_request_id="l2")
    build.request(status=403, ok=0, request_id="g3")
    build.request(status=502, ok=0, request_id="g4")
    build.request(status=None, ms=None, ok=0, error="ConnectionRefusedError")
    coverage, _ = joined()
    assert (coverage.requests, coverage.reached, coverage.reached_matched) == (5, 1, 0)


def test_an_invocation_whose_request_was_set_aside_is_written_out_with_it(build, joined):
    """It has the correlation id of a request as later hops have, and is none."""
    build.request(lambda_request_id="l1", correlation_id="c1")
    build.invocation(1.0, request_id="l1")
    for number in (2, 3):
        build.request(lambda_request_id="l2", correlation_id=f"c{number}")
        build.invocation(float(number), request_id=f"l{number}")
        build.correlation(float(number), request_id=f"l{number}", correlation_id=f"c{number}")
        build.invocation(number + 0.5, function="shop-decrypt", request_id=f"hop{number}")
        hop = {"function": "shop-decrypt", "message_id": f"m{number}"}
        build.correlation(number + 0.5, request_id=f"hop{number}", correlation_id=f"c{number}", **hop)
    coverage, _ = joined()
    assert (coverage.matched, coverage.ambiguous) == (1, 2)
    assert (coverage.chain_invocations, coverage.unmatched_invocations) == (2, 2)


def test_hops_and_background_are_told_from_strangers(build, joined):
    build.request(lambda_request_id="l1", correlation_id="c1")
    build.invocation(1.0, request_id="l1")
    build.invocation(1.1, request_id="stranger")
    build.invocation(1.2, function="shop-decrypt", request_id="hop")
    build.correlation(1.2, function="shop-decrypt", request_id="hop", correlation_id="c1", message_id="m")
    build.invocation(1.3, function="tally-votes", request_id="batch")
    coverage, _ = joined()
    assert (coverage.invocations, coverage.matched) == (4, 1)
    assert (coverage.chain_invocations, coverage.background_invocations, coverage.unmatched_invocations) == (1, 1, 1)


def test_gateway_latencies_come_along_without_a_pair(build):
    build.request(request_id="g1", status=500, ok=0)
    build.access(request_id="g1", integration_status=429, integration_latency_ms=5.0, response_latency_ms=8.0)
    db, _ = build.join()
    query = "SELECT matched_by, gateway_integration_latency_ms, gateway_response_latency_ms FROM joined"
    assert db.execute(query).fetchall() == [(None, 5.0, 8.0)]


def test_both_sides_empty(joined):
    coverage, pairs = joined()
    assert pairs == {}
    assert set(coverage.as_dict().pop("by").values()) == {0}
    assert (coverage.requests, coverage.matched, coverage.invocations, coverage.ambiguous) == (0, 0, 0, 0)


FEW_IDS = st.sampled_from([None, "a", "b", "c"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=st.lists(st.tuples(FEW_IDS, FEW_IDS, FEW_IDS), max_size=5),
    access=st.lists(st.tuples(FEW_IDS, FEW_IDS), max_size=4),
    invocations=st.lists(st.tuples(FEW_IDS, FEW_IDS), max_size=5),
)
def test_whatever_collides_nothing_is_paired_twice_and_everything_is_counted(build, requests, access, invocations):
    build.requests.clear()
    build.tables.clear()
    for lambda_id, request_id, trace_id in requests:
        build.request(lambda_request_id=lambda_id, request_id=request_id, trace_id=trace_id)
    for request_id, lambda_id in access:
        build.access(request_id=request_id, lambda_request_id=lambda_id)
    for number, (lambda_id, trace_id) in enumerate(invocations):
        build.invocation(1.0 + number, request_id=lambda_id, xray_trace_id=trace_id, function=f"f{number % 2}")
    db, coverage = build.join()
    pairs = db.execute("SELECT row, inv FROM joined WHERE inv IS NOT NULL").fetchall()
    assert len({row for row, _ in pairs}) == len({inv for _, inv in pairs}) == len(pairs) == coverage.matched
    assert coverage.matched + coverage.unmatched_requests + coverage.ambiguous == coverage.requests == len(requests)
    assert coverage.matched == sum(coverage.by.values())
    unpaired = coverage.chain_invocations + coverage.background_invocations + coverage.unmatched_invocations
    assert 0 <= unpaired <= coverage.invocations == len(invocations)
    assert db.execute("SELECT count(*) FROM joined").fetchone() == (len(requests),)


def test_the_tiny_run_is_joined_as_its_readme_says(tiny_run):
    coverage = join(open_evidence(tiny_run), tiny_run.file("joined.parquet"))
    assert coverage.as_dict() == {
        "requests": 13,
        "matched": 11,
        "by": {"lambda_request_id": 7, "access_log": 2, "correlation_line": 1, "trace_id": 1},
        "unmatched_requests": 2,
        "ambiguous": 0,
        "reached": 11,
        "reached_matched": 11,
        "invocations": 18,
        "chain_invocations": 6,
        "background_invocations": 1,
        "unmatched_invocations": 0,
        "retries": 0,
    }


@pytest.mark.parametrize("read_again", [True, False], ids=["in their files", "on the disk"])
def test_rows_kept_elsewhere_are_joined_as_those_in_memory(tiny_run, monkeypatch, read_again):
    def joined_rows():
        evidence = open_evidence(tiny_run)
        coverage = join(evidence, tiny_run.file("joined.parquet"))
        return coverage, evidence.db.execute("FROM joined ORDER BY row").fetchall()

    in_memory = joined_rows()
    assert len(in_memory[1]) == 14, "13 sent, one dropped"
    monkeypatch.setattr(requests_table, "READ_AGAIN_BYTES", -1)
    if not read_again:
        monkeypatch.setattr(requests_table, "IN_MEMORY_BYTES", -1)
        monkeypatch.setattr(requests_table.RowsInFiles, "__init__", _damaged)
    assert joined_rows() == in_memory


def _damaged(*arguments):
    raise DamagedLineError("a line is damaged")


def unjoined(build):
    """What unjoined.csv says: [(side, name, reason)], of requests first."""
    run = build.write()
    evidence = open_evidence(run)
    coverage = join(evidence, run.file("joined.parquet"))
    write_unjoined(evidence.db, run.file("unjoined.csv"))
    with run.file("unjoined.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert not rows or tuple(rows[0]) == UNJOINED_COLUMNS
    requests = coverage.unmatched_requests + coverage.ambiguous
    assert [row["side"] for row in rows] == ["request"] * requests + ["invocation"] * coverage.unmatched_invocations
    return [row["reason"] for row in rows]


@pytest.mark.parametrize(
    ("request_row", "access_row", "reason"),
    [
        ({"status": None, "ms": None}, None, "no answer came, so nothing names an invocation"),
        ({"status": 200, "method": "Publish"}, None, "a message: no invocation answers it, see chains"),
        ({"status": 204, "method": "Invoke"}, None, "a dry run: nothing was invoked"),
        ({"status": 429}, None, "refused before a function ran"),
        ({"status": 429, "method": "Invoke"}, None, "refused before a function ran"),
        ({"status": 500}, {"integration_status": 429}, "refused before a function ran"),
        ({"status": 200, "lambda_request_id": "gone"}, None, "the logs have no REPORT of its invocation"),
        ({"status": 200}, {"lambda_request_id": "gone"}, "the logs have no REPORT of its invocation"),
        ({"status": 403}, {}, "refused by the gateway"),
        ({"status": 200}, None, "nothing names its invocation"),
    ],
)
def test_each_request_without_an_invocation_says_why(build, request_row, access_row, reason):
    build.request(request_id="g1", **request_row)
    if access_row is not None:
        build.access(request_id="g1", **access_row)
    assert unjoined(build) == [reason]


def test_ambiguous_rows_name_the_key_that_is_not_unique(build):
    for _ in range(2):
        build.request(lambda_request_id="l1")
    build.invocation(request_id="l1")
    build.request(2.0, lambda_request_id="l2")
    build.invocation(2.0, request_id="l2")  # a function that answers requests, so that l1 counts as unmatched
    assert unjoined(build) == [
        *["ambiguous: another request has the same lambda_request_id"] * 2,
        "no request of the run leads to it, or several do",
    ]


def test_the_attempts_of_an_asynchronous_event_are_one_answer_and_its_retries(build, joined):
    """Lambda tries a failed event again under the same request id."""
    build.request(status=202, method="Invoke", request_id="l1")
    for at in (1.0, 61.0, 181.0):
        build.invocation(at, request_id="l1")
    coverage, pairs = joined()
    assert pairs == {1: ("lambda_request_id", "l1")}
    assert (coverage.invocations, coverage.retries, coverage.unmatched_invocations, coverage.ambiguous) == (3, 2, 0, 0)


def test_a_request_that_the_client_repeated_under_its_id_is_ambiguous(build, joined):
    for number in range(2):
        build.request(1.0 + number, request_id="g1")
        build.correlation(1.0 + number, gateway_request_id="g1", request_id=f"l{number}")
        build.invocation(1.1 + number, request_id=f"l{number}")
    coverage, pairs = joined()
    assert (coverage.ambiguous, coverage.retries) == (2, 0)
    assert set(pairs.values()) == {(None, None)}
