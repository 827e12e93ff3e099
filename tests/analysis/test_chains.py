"""Lost, duplicated, late and pending messages of the shop chain."""

import pytest

from analysis.chains import CHAINS, Settling, chains, change_between, reconciled

SHOP = CHAINS[0]
T0 = 1795255200.0


@pytest.fixture
def shop(build):
    """-> the shop chain's block of what was built, its logs known for the first 10 s."""

    def run(settled=True, limit_s=60.0, watched_until=T0 + 10, change=None, logged=()):
        settling = Settling(limit_s, watched_until, settled, frozenset(logged))
        return chains(build.joined(), settling, {"shops": change})["shop"]

    return run


def send(build, number, at=1.0, **columns):
    build.request(at, flow="shop", name="/shop", correlation_id=f"c{number}", **columns)


def deliver(build, number, at, attempt=0, function="shop-update-db", **columns):
    request_id = f"{function}-{number}-{attempt}"
    build.invocation(at, function=function, request_id=request_id, **columns)
    build.correlation(at - 0.01, function=function, request_id=request_id, correlation_id=f"c{number}", message_id="m")


def test_exactly_the_dropped_are_lost_and_exactly_the_duplicated_counted(build, shop):
    dropped, duplicated = {3, 50, 77, 78, 120, 301, 499}, {0, 9, 200, 201, 498}
    for number in range(500):
        at = 1.0 + number / 100
        send(build, number, at)
        if number not in dropped:
            deliver(build, number, at + 0.5)
        if number in duplicated:
            deliver(build, number, at + 0.7, attempt=1)
    found = shop()
    assert (found["sent"], found["accepted"], found["completed"]) == (500, 500, 493)
    assert (found["lost"], found["duplicated"], found["pending"], found["late"]) == (7, 5, 0, 0)


def test_end_to_end_is_from_the_clients_start_to_the_first_completions_end(build, shop):
    send(build, 1, 1.0)
    deliver(build, 1, 3.5)
    deliver(build, 1, 9.0, attempt=1)
    assert shop()["end_to_end_ms"]["max"] == 2500.0


def test_a_hop_is_late_where_the_limit_had_passed_since_the_start(build, shop):
    send(build, 1, 1.0)
    deliver(build, 1, 1.5, function="shop-accept")
    deliver(build, 1, 3.5, function="shop-decrypt")
    deliver(build, 1, 3.6)
    deliver(build, 1, 9.0, attempt=1)
    assert [hop["late"] for hop in shop(limit_s=2.0)["hops"]] == [0, 1, 1]
    assert [hop["late"] for hop in shop(limit_s=2.55)["hops"]] == [0, 0, 1]


def test_a_failed_last_hop_completes_nothing_until_its_retry(build, shop):
    send(build, 1)
    send(build, 2)
    deliver(build, 1, 2.0, status="error")
    deliver(build, 1, 5.0, attempt=0)
    deliver(build, 2, 2.0, status="timeout")
    found = shop()
    assert (found["completed"], found["duplicated"], found["lost"]) == (1, 0, 1)


def test_late_is_after_the_profiles_limit(build, shop):
    send(build, 1, 1.0)
    send(build, 2, 1.0)
    deliver(build, 1, 3.0)
    deliver(build, 2, 3.001)
    assert shop(limit_s=2.0)["late"] == 1


def test_until_it_is_settled_a_missing_message_is_pending(build, shop):
    send(build, 1, 1.0)
    send(build, 2, 6.0)
    deliver(build, 99, 2.0)
    deliver(build, 1, 2.0, function="shop-accept")
    found = shop(settled=False, limit_s=5.0)
    assert (found["lost"], found["pending"]) == (1, 1)
    assert shop(settled=True, limit_s=5.0)["lost"] == 2


def test_with_half_of_the_logs_nothing_is_called_lost(build, shop):
    send(build, 1)
    deliver(build, 1, 2.0, function="shop-accept")
    found = shop(watched_until=None)
    assert (found["lost"], found["pending"]) == (0, 1)


def test_what_the_front_refused_cannot_be_lost(build, shop):
    send(build, 1, status=500, ok=0)
    send(build, 2)
    deliver(build, 2, 2.0)
    found = shop()
    assert (found["sent"], found["accepted"], found["completed"], found["lost"]) == (2, 1, 1, 0)


SHOP_FUNCTIONS = frozenset({"shop-accept", "shop-decrypt", "shop-update-db"})


def in_all(found):
    return [found[name] for name in ("accepted", "completed", "lost", "duplicated", "pending")]


def test_a_chain_of_which_no_function_ever_succeeded_lost_all_its_messages(build, shop):
    send(build, 1)
    send(build, 2)
    build.invocation(2.0, function="shop-update-db", status="timeout")
    found = shop(logged=SHOP_FUNCTIONS)
    assert in_all(found) == [2, 0, 2, 0, 0]
    assert [(hop["reached"], hop["lost_before"]) for hop in found["hops"]] == [(0, 2), (0, 0), (0, 0)]


@pytest.mark.parametrize("known", [{"watched_until": None, "logged": SHOP_FUNCTIONS}, {"logged": {"shop-accept"}}])
def test_of_a_chain_whose_logs_are_not_known_whole_nothing_is_known_without_correlation_lines(build, shop, known):
    send(build, 1)
    assert in_all(shop(**known)) == [1, None, None, None, None]


def test_without_correlation_lines_nothing_is_known(build, shop):
    send(build, 1)
    build.invocation(2.0, function="shop-update-db")
    found = shop()
    assert (found["sent"], found["accepted"]) == (1, 1)
    unknown = ("completed", "lost", "duplicated", "late", "pending", "table_reconciled")
    assert {found[name] for name in unknown} == {None}
    assert found["measured"]["lost"] is None


def test_requests_that_share_a_correlation_id_are_set_aside(build, shop):
    send(build, 1)
    send(build, 1)
    send(build, 2)
    deliver(build, 1, 2.0)
    deliver(build, 1, 2.5, attempt=1)
    deliver(build, 2, 3.0)
    found = shop()
    assert (found["ambiguous"], found["sent"], found["completed"], found["duplicated"]) == (2, 1, 1, 0)


def test_messages_of_other_kinds_are_in_chains_of_their_own(build):
    for number, (name, method) in enumerate(
        [("SendMessage to SQS", "SendMessage"), ("Publish to SNS", "Publish"), ("Publish to SNS", "Publish")]
    ):
        build.request(1.0, flow="events", name=name, method=method, correlation_id=f"c{number}")
    deliver(build, 0, 2.0, function="queue-consumer")
    deliver(build, 1, 2.0, function="topic-consumer")
    found = chains(build.joined(), Settling(60.0, T0 + 10, True), {})
    counted = {name: (chain["sent"], chain["completed"], chain["lost"]) for name, chain in found.items()}
    assert counted == {"events-queue": (1, 1, 0), "events-topic": (2, 1, 1)}
    assert found["events-queue"]["table_reconciled"] is None


def test_a_message_that_failed_alone_is_not_completed_and_one_refused_in_a_batch_not_lost(build):
    for number, ok in ((1, 1), (2, 1), (3, 0)):
        build.request(
            1.0, flow="events", name="SendMessageBatch", method="SendMessageBatch", correlation_id=f"c{number}", ok=ok
        )
    deliver(build, 1, 2.0, function="queue-consumer")
    build.correlation(
        1.99,
        function="queue-consumer",
        request_id="queue-consumer-1-0",
        correlation_id="c2",
        message_id="m",
        failed=True,
    )
    found = chains(build.joined(), Settling(60.0, T0 + 10, True), {})["events-queue"]
    assert (found["sent"], found["accepted"], found["completed"], found["lost"]) == (3, 2, 1, 1)


def test_two_correlation_lines_of_one_invocation_are_one_completion(build, shop):
    send(build, 1)
    deliver(build, 1, 2.0)
    build.correlation(1.995, function="shop-update-db", request_id="shop-update-db-1-0", correlation_id="c1")
    assert shop()["duplicated"] == 0


def test_two_messages_of_one_batch_are_two_completions(build):
    build.request(1.0, flow="events", name="PutRecord", method="PutRecord", correlation_id="c1")
    build.invocation(2.0, function="stream-consumer", request_id="l1")
    for message_id in ("m1", "m2"):
        build.correlation(1.99, function="stream-consumer", request_id="l1", correlation_id="c1", message_id=message_id)
    found = chains(build.joined(), Settling(60.0, T0 + 10, True), {})["events-stream"]
    assert (found["completed"], found["duplicated"], found["hops"][0]["repeated"]) == (1, 1, 1)


def test_warm_up_is_counted_and_kept_out_of_times(build, shop):
    send(build, 1, phase="warmup")
    send(build, 2, 2.0)
    deliver(build, 1, 20.0)
    deliver(build, 2, 3.0)
    found = shop()
    assert (found["completed"], found["measured"]["completed"]) == (2, 1)
    assert found["end_to_end_ms"]["max"] == 1000.0


def test_a_run_without_the_flow_has_no_chain(build):
    build.request()
    assert chains(build.joined(), Settling(60.0, T0, True), {}) == {}


def test_the_table_agrees_when_it_took_up_every_completion(build, shop):
    send(build, 1)
    deliver(build, 1, 2.0)
    deliver(build, 1, 3.0, attempt=1)
    before = [{"shop_id": "1", "record_type": "s-90001", "gross_number": 5, "gross_turnover": 5, "stock": -5}]
    after = [
        {"shop_id": "1", "record_type": "s-90001", "gross_number": 10, "gross_turnover": 10, "stock": -10},
        {"shop_id": "2", "record_type": "s-90001", "gross_number": 5, "gross_turnover": 5, "stock": -5},
        {"shop_id": "2", "record_type": "s-90002", "gross_number": 2, "gross_turnover": 4, "stock": -2},
    ]
    assert shop(change=change_between(before, after))["table_reconciled"] is True
    assert shop(change=change_between(after, before))["table_reconciled"] is False


@pytest.mark.parametrize(
    ("completions", "agrees"),
    [(1, True), (2, False), (0, False)],
)
def test_the_table_differs_by_one_message(completions, agrees):
    change = {
        "s-90001": {"gross_number": 5.0, "gross_turnover": 5.0, "stock": -5.0},
        "s-90002": {"gross_number": 1.0, "gross_turnover": 2.0, "stock": -1.0},
    }
    assert reconciled(SHOP, completions, change) is agrees


def test_a_table_that_did_not_change_agrees_with_no_completion():
    item = {"shop_id": "1", "record_type": "s-90001", "gross_number": 5}
    assert reconciled(SHOP, 0, change_between([item], [item])) is True


def test_a_table_nobody_looked_at_is_unknown():
    assert reconciled(SHOP, 1, None) is None


@pytest.fixture
def never_set(build):
    """Three workers' messages, one's of them sent in 1970 by its own clock."""
    for number in range(3):
        send(build, number, worker=number)
    build.requests[2]["started_at"] = 12.0


def test_by_a_clock_that_was_never_set_nothing_is_measured(build, shop, never_set):
    for number in range(3):
        deliver(build, number, 1.5)
    found = shop()
    assert (found["completed"], found["late"], found["end_to_end_ms"]["max"]) == (3, 0, 500.0)
    assert found["measured"]["late"] == 0


def test_by_a_clock_that_was_never_set_no_hop_is_measured(build, shop, never_set):
    for number in range(3):
        deliver(build, number, 1.5, function="shop-accept")
    assert shop()["hops"][0]["since_last_ms"]["max"] == 500.0


def test_by_a_clock_that_was_never_set_nothing_is_overdue(build, shop, never_set):
    deliver(build, 0, 1.5)
    found = shop(settled=False, limit_s=60.0)
    assert (found["lost"], found["pending"]) == (0, 2)


def test_end_to_end_is_corrected_for_a_worker_whose_clock_is_behind_for_sure(build, shop):
    """The target's clock is 5 s ahead: the access log proves it, to 1 ms beside the network's 10."""
    send(build, 1, 1.0, ms=70.0, request_id="g1")
    build.access(1.01 + 5.0, request_id="g1", response_latency_ms=50.0)
    deliver(build, 1, 1.0 + 5.0 + 0.8)
    assert shop()["end_to_end_ms"]["max"] == pytest.approx(800, abs=12)
