from collections import Counter

import pytest

from sandbox.faults import Faults, FaultsError, parse_faults


def faults(text: bytes, seed: int = 1) -> Faults:
    active = Faults(seed)
    active.add(parse_faults(text))
    return active


def test_nothing_goes_wrong_without_faults():
    active = Faults()
    assert active.admission("f", "r") is None
    assert active.run("f", "r") is None
    assert active.api_request("r") is None
    assert active.delivery("topic/t").copies == 1


@pytest.mark.parametrize("seed", range(5))
def test_drops_and_duplicates_by_count_hit_different_deliveries(seed):
    active = faults(
        b'[{"kind":"drop","topic":"sales","count":7,"of":500},{"kind":"duplicate","topic":"sales","count":5,"of":500}]',
        seed,
    )
    assert Counter(active.delivery("topic/sales").copies for _ in range(500)) == {1: 488, 0: 7, 2: 5}
    assert Counter(active.delivery("topic/sales").copies for _ in range(500)) == {1: 500}


def test_a_count_without_of_hits_the_very_next_events():
    active = faults(b'{"kind":"fail","function":"f","count":2}')
    assert [active.run("f", "r") is not None for _ in range(4)] == [True, True, False, False]


def test_two_counts_without_of_follow_one_another():
    active = faults(b'[{"kind":"drop","topic":"t","count":2},{"kind":"duplicate","topic":"t","count":1}]')
    assert [active.delivery("topic/t").copies for _ in range(4)] == [0, 0, 2, 1]


def test_a_rate_holds_until_the_faults_are_cleared():
    active = faults(b'{"kind":"fail","function":"f","rate":0.1}')
    hit = sum(active.run("f", "r") is not None for _ in range(10_000))
    assert hit == pytest.approx(1000, rel=0.1)
    assert active.as_list() == [
        {
            "kind": "fail",
            "function": "f",
            "rate": 0.1,
            "error_type": "InjectedFault",
            "error_message": "a fault asked for at /_sandbox/faults",
            "hits": hit,
        }
    ]
    active.clear()
    assert active.as_list() == []
    assert all(active.run("f", "r") is None for _ in range(100))


def test_a_fault_stays_with_its_target():
    active = faults(b'{"kind":"crash","function":"f","count":1}')
    assert active.run("g", "r") is None
    assert active.admission("f", "r") is None
    assert active.run("f", "r") is not None


def test_a_delay_delivers_once_and_late():
    delivery = faults(b'{"kind":"delay","topic":"t","count":1,"delay_s":90}').delivery("topic/t")
    assert (delivery.copies, delivery.delay_s) == (1, 90)


def test_lagging_logs_hold_until_cleared():
    active = faults(b'{"kind":"lag_logs","lag_s":30,"rate":1}')
    assert [active.log_event() for _ in range(3)] == [30, 30, 30]
    assert active.greatest_log_lag_s == 30
    active.clear()
    assert (active.log_event(), active.greatest_log_lag_s) == (0, 0)


def test_some_log_events_lag_by_count():
    active = faults(b'{"kind":"lag_logs","lag_s":30,"count":2}')
    assert [active.log_event() for _ in range(3)] == [30, 30, 0]


def test_one_object_a_list_and_a_document_mean_the_same():
    one = b'{"kind":"fail","function":"f","count":1}'
    assert parse_faults(one) == parse_faults(b"[" + one + b"]") == parse_faults(b'{"faults":[' + one + b"]}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "not JSON"),
        (b"7", "valid list"),
        (b"[7]", "valid dictionary"),
        (b"{}", "kind"),
        (b'{"kind":"explode","function":"f","count":1}', "explode"),
        (b'{"kind":"fail","count":1}', "function"),
        (b'{"kind":"fail","function":"f"}', "rate or count"),
        (b'{"kind":"fail","function":"f","rate":0.5,"count":1}', "rate or count"),
        (b'{"kind":"fail","function":"f","rate":1.5}', "less than or equal to 1"),
        (b'{"kind":"fail","function":"f","rate":0}', "greater than 0"),
        (b'{"kind":"fail","function":"f","count":0}', "greater than 0"),
        (b'{"kind":"fail","function":"f","count":5,"of":4}', "of goes with a count"),
        (b'{"kind":"fail","function":"f","rate":0.5,"of":4}', "of goes with a count"),
        (b'{"kind":"slow","function":"f","count":1}', "delay_ms"),
        (b'{"kind":"slow","function":"f","count":1,"delay_ms":-3}', "greater than 0"),
        (b'{"kind":"throttle","function":"f","count":1,"reason":"because"}', "reason"),
        (b'{"kind":"drop","topic":"t","count":1,"delay_s":3}', "unknown key"),
        (b'{"kind":"lag_logs","rate":1}', "lag_s"),
        (b'{"kind":"lag_logs","lag_s":30}', "rate or count"),
    ],
)
def test_nonsense_is_refused_with_the_reason(text, problem):
    with pytest.raises(FaultsError, match=problem):
        parse_faults(text)


def test_every_problem_is_told():
    with pytest.raises(FaultsError) as refused:
        parse_faults(b'[{"kind":"fail","count":1},{"kind":"zap"}]')
    assert len(refused.value.problems) == 2


def test_counts_that_do_not_fit_into_their_window_are_refused():
    active = faults(b'{"kind":"drop","topic":"t","count":4,"of":5}')
    with pytest.raises(FaultsError, match="leave only 1 of the next 5"):
        active.add(parse_faults(b'{"kind":"duplicate","topic":"t","count":2,"of":5}'))


@pytest.mark.parametrize("place", [b"", b'"topic":"a","queue":"b",'])
def test_a_delivery_fault_is_of_one_place(place):
    with pytest.raises(FaultsError, match="give one of topic, queue, bus and stream"):
        parse_faults(b'{"kind":"drop",%s"count":1}' % place)


def test_a_hit_names_the_request_and_the_one_behind_the_gateway():
    active = faults(b'[{"kind":"crash","function":"f","count":1},{"kind":"cut","count":1}]')
    active.run("f", "l1", {"requestContext": {"requestId": "g1"}})
    active.run("f", "l2", {})
    active.api_request("g2")
    assert list(active.hits) == [
        {"kind": "crash", "target": "f", "request_id": "l1", "gateway_request_id": "g1"},
        {"kind": "cut", "target": "", "request_id": "g2"},
    ]


def test_a_call_is_refused_only_while_its_handler_runs():
    active = faults(b'{"kind":"refuse_call","function":"f","operation":"PutRecord","count":1}')
    assert active.call("PutRecord") is None
    active.refused_calls = active.run("f", "l1")
    assert active.call("PutRecord") is not None
    assert active.call("Publish") is None


def test_a_stream_delays_nothing():
    with pytest.raises(FaultsError, match="keeps its order"):
        parse_faults(b'{"kind":"delay","stream":"s","count":1,"delay_s":3}')
