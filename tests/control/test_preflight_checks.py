"""Each check by itself, on literal facts: what it says and what it advises."""

from __future__ import annotations

import pytest

from config.budget import Sending
from config.custom_flow import custom_flow_from
from config.generator_rates import GeneratorRates, RatesOfACore
from config.prices import load_prices
from config.quotas import Quota
from config.settings import settings_from
from control.preflight import access, capacity, expense, functions, generator
from control.preflight.capacity import Durations
from control.preflight.demand import ASYNCHRONOUS, BEHIND_API, DIRECT, OF_QUEUE, OF_STREAM, Use
from control.preflight.facts import (
    Absent,
    Account,
    Answer,
    Caller,
    Facts,
    Key,
    LogGroup,
    Machine,
    Provisioned,
    Queue,
    Source,
    Stream,
    Table,
    Unknown,
)
from control.preflight.gather import _kms_quota, ask_endpoint
from control.preflight.policies import policy_source
from control.preflight.questions import Questions
from tests.control.preflight_facts import DENIED, demand, function, measured, paced
from tests.ports import NOBODY

MACHINE = Machine(open_files=1024, open_files_hard=4096, ports=28_000, cores=2)
RATES = GeneratorRates(
    machine="m", date="2026-11-21", how="h", share=0.5, requests_per_s=RatesOfACore(plain=1000, tls=500, signed=250)
)
QUOTA = Quota(40_000, "source")
MAPPING = Source("tally-votes", "kinesis", "swarmscope-votes", "Enabled", "arn:aws:sqs:r:1:dead", None, 1)


# ---------------------------------------------------------------- what a profile asks for


def test_votes_and_reads_share_the_api_and_only_votes_reach_the_stream():
    vote = demand(paced(100, results_share=0.2))
    assert vote.rate("api") == 100
    assert vote.rate("function", "place-vote") == pytest.approx(80)
    assert vote.rate("function", "get-results") == pytest.approx(20)
    assert vote.rate("stream", "votes") == pytest.approx(80)
    assert vote.rate("read", "votes") == pytest.approx(10)


def test_a_sale_is_published_twice_decrypted_once_and_written_twice():
    shop = demand(paced(10, flows=["shop"]))
    assert [shop.rate(*use) for use in (("topic", "sales"), ("topic", "decrypted-sales"), ("decrypt", ""))] == [10] * 3
    assert shop.rate("write", "shops") == 20


def test_events_are_shared_out_among_the_destinations_that_there_are():
    names = dict.fromkeys(("queue-consumer", "topic-consumer"), "f")
    events = demand(paced(40, flows=["events"]), event_destinations=["sqs", "sns"], functions=names)
    assert (events.rate("queue", "events"), events.rate("topic", "events"), events.rate("bus", "events")) == (20, 20, 0)
    assert events.triggers == {"queue-consumer": OF_QUEUE, "topic-consumer": ASYNCHRONOUS}


def test_custom_requests_count_by_weight_and_batch_with_variables_put_in():
    flow = custom_flow_from(
        {
            "functions": ["behind"],
            "requests": [
                {"weight": 3, "api": {"path": "/a"}},
                {"weight": 1, "invoke": {"function": "{{ env.MINE }}", "invocation_type": "Event"}},
                {"weight": 4, "stream": {"name": "orders", "batch": 10}},
            ],
        },
        "flow.toml",
    )
    custom = demand(paced(8, flows=["custom"]), custom=flow, variables={"MINE": "own"})
    assert (custom.rate("api"), custom.rate("function", "own"), custom.rate("stream", "orders")) == (3, 1, 40)
    assert (custom.triggers, custom.unknown_share) == ({"own": ASYNCHRONOUS, "behind": BEHIND_API}, {"behind"})


def test_rate_that_nobody_knows_is_none():
    unpaced = demand("perf")
    assert (unpaced.peak_rate, unpaced.rate("api"), unpaced.rate("bus", "events")) == (None, None, 0.0)
    assert capacity.load(unpaced).verdict == "warn"


# ---------------------------------------------------------------- access


def test_credentials_are_named_or_what_is_wrong_with_them():
    assert access.credentials(Caller("123456789012", "arn:x")).finding == "account 123456789012, arn:x"
    expired = access.credentials(Unknown("sts:GetCallerIdentity", "they have expired", hint="get new ones"))
    assert (expired.verdict, expired.advice) == ("fail", "get new ones")


@pytest.mark.parametrize(
    ("answer", "verdict", "said"),
    [
        (Answer("h", "OPTIONS /prod", 403, "MissingAuthenticationTokenException", ms=12.0), "pass", "in 12 ms"),
        (Answer("h", "OPTIONS /prod", 403, "ForbiddenException"), "fail", "ForbiddenException"),
        (Answer("h", "OPTIONS /prod", None, "refused"), "fail", "no answer: refused"),
        (Answer("h", "OPTIONS /prod", 500), "warn", "500"),
        (Answer("lambda", "DryRun of f", 404, "ResourceNotFoundException"), "fail", "ResourceNotFoundException"),
        (Answer("lambda", "DryRun of f", 403, "X", missing="lambda:InvokeFunction"), "fail", "may not lambda:Invoke"),
        (Answer("sqs", "attributes", 403, "X", missing="sqs:Get", by_load=False), "warn", "may not sqs:Get"),
    ],
)
def test_endpoint_answers_as_expected_or_the_row_says_how_not(answer, verdict, said):
    row = access.endpoint(answer)
    assert row.verdict == verdict
    assert said in row.finding


@pytest.mark.parametrize(("offset_s", "verdict"), [(1.9, "pass"), (-2.1, "warn"), (302.0, "fail")])
def test_clock_is_judged_by_what_is_sure_of_its_offset(offset_s, verdict):
    vague = Answer("a", "x", 200, clock_offset_s=900.0, clock_error_s=899.5)
    row = access.clock((vague, Answer("b", "x", 200, clock_offset_s=offset_s, clock_error_s=1.0)))
    assert row is not None
    assert (row.subject, row.verdict) == ("b", verdict)


def test_without_a_date_nothing_is_known_of_the_clock():
    assert access.clock((Answer("a", "x", 200),)) is None


def test_permissions_say_what_is_missing_and_which_questions_were_refused():
    first, second = access.permissions({"sns:Publish": False, "logs:StartQuery": True}, ("kms:DescribeKey",))
    assert (first.verdict, first.finding) == ("fail", "the policies do not allow sns:Publish")
    assert (second.verdict, second.finding) == ("warn", "may not kms:DescribeKey")


def test_simulation_that_is_not_allowed_is_a_warning():
    refused = Unknown("iam:SimulatePrincipalPolicy", "no", denied=True)
    (row,) = access.permissions(refused, ("iam:SimulatePrincipalPolicy",))
    assert (row.verdict, row.finding) == ("warn", "may not iam:SimulatePrincipalPolicy")


def test_endpoint_that_nothing_listens_at_has_no_answer():
    answer = ask_endpoint(f"http://127.0.0.1:{NOBODY}/prod", timeout_s=5)
    assert (answer.status, answer.asked) == (None, "OPTIONS /prod")
    assert "refused" in answer.error


@pytest.mark.parametrize(
    ("name", "quota"), [("Cryptographic operations (RSA) request rate", 500.0), ("Something else", None)]
)
def test_quota_of_a_key_is_the_one_of_that_name(name, quota):
    class ServiceQuotas:
        def get_service_quota(self, **asked):
            assert asked == {"ServiceCode": "kms", "QuotaCode": "L-1"}
            return {"Quota": {"QuotaName": name, "Value": 500}}

    assert _kms_quota(Questions(lambda service: ServiceQuotas()), "L-1") == quota


@pytest.mark.parametrize(
    ("arn", "source"),
    [
        ("arn:aws:sts::1:assumed-role/Load/session", "arn:aws:iam::1:role/Load"),
        ("arn:aws:iam::1:user/team/me", "arn:aws:iam::1:user/team/me"),
        ("arn:aws:iam::1:root", None),
        ("nonsense", None),
    ],
)
def test_policies_of_a_caller_are_those_of_its_user_or_role(arn, source):
    assert policy_source(arn) == source


def test_region_without_prices_is_a_warning_and_none_a_failure():
    settings = settings_from({"TARGET": "aws"})
    assert access.region(settings, None, load_prices("us-east-1")).verdict == "fail"
    assert access.region(settings, "sa-east-1", load_prices("sa-east-1")).verdict == "warn"
    assert access.region(settings, "us-east-1", load_prices("us-east-1")).verdict == "pass"


@pytest.mark.parametrize(
    ("variables", "url", "verdict"),
    [
        ({"TARGET": "sandbox"}, "https://api.example.com/prod", "fail"),
        ({"TARGET": "aws"}, "https://api.example.com/prod", "pass"),
        ({"TARGET": "aws", "ALLOWED_HOSTS": "api.example.com"}, "https://api.example.com/prod", "fail"),
        ({"TARGET": "aws", "ALLOWED_HOSTS": "api.example.com sqs.amazonaws.com"}, "https://api.example.com/p", "pass"),
        ({"TARGET": "aws"}, None, None),
    ],
)
def test_hosts_that_load_may_not_go_to_fail(variables, url, verdict):
    rows = access.allowed_hosts(settings_from(variables), url, {"sqs": "sqs.amazonaws.com"})
    assert [row.verdict for row in rows] == ([] if verdict is None else [verdict])


# ---------------------------------------------------------------- functions


def test_function_or_version_that_is_not_there_fails():
    assert functions.existence("place-vote", Absent(), "live").subject == "place-vote:live"
    assert functions.existence("place-vote", Absent(), None).verdict == "fail"


@pytest.mark.parametrize(
    ("timeout_s", "trigger", "before_ms", "verdict"),
    [
        (29, BEHIND_API, None, "pass"),
        (30, BEHIND_API, None, "warn"),
        (60, ASYNCHRONOUS, None, "pass"),
        (60, DIRECT, None, "warn"),
        (15, BEHIND_API, 9_999, "pass"),
        (15, BEHIND_API, 10_000, "warn"),
    ],
)
def test_timeout_against_who_waits_and_what_it_took(timeout_s, trigger, before_ms, verdict):
    before = None if before_ms is None else measured(max_ms={"f": before_ms})
    assert functions.timeout("f", function(timeout_s=timeout_s), trigger, paced(), before).verdict == verdict


def test_timeout_against_the_limits_of_the_profile():
    strict = paced(chain_limit="30s", response_limit="2s")
    late = functions.timeout("f", function(timeout_s=31), ASYNCHRONOUS, strict, None)
    failed = functions.timeout("f", function(timeout_s=15), BEHIND_API, strict, None)
    assert (late.verdict, failed.verdict) == ("warn", "pass")
    assert "late after 30 s" in late.finding
    assert "fails answers that take 2 s" in failed.finding


@pytest.mark.parametrize(("used_mb", "verdict"), [(None, "pass"), (200, "pass"), (210, "warn"), (256, "fail")])
def test_memory_against_what_was_used(used_mb, verdict):
    before = None if used_mb is None else measured(max_memory_mb={"f": used_mb})
    assert functions.memory("f", function(memory_mb=256), before).verdict == verdict


def test_tracing_is_wanted_where_requests_are_sampled():
    passes_on = function(tracing="PassThrough")
    assert functions.tracing("f", passes_on, 0.01).verdict == "warn"
    assert functions.tracing("f", passes_on, 0.0).verdict == "pass"


@pytest.mark.parametrize(
    ("group", "verdict"),
    [
        (LogGroup(14, "STANDARD"), "pass"),
        (LogGroup(None, "STANDARD"), "warn"),
        (LogGroup(14, "INFREQUENT_ACCESS"), "fail"),
        (Absent(), "warn"),
        (DENIED, "warn"),
    ],
)
def test_log_group_can_be_queried_and_is_not_kept_for_ever(group, verdict):
    assert functions.log_group("f", group).verdict == verdict


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "pass"),
        ({"log_format": "JSON", "system_log_level": "INFO"}, "pass"),
        ({"log_format": "JSON", "system_log_level": "WARN"}, "fail"),
        ({"log_format": "JSON", "application_log_level": "ERROR"}, "warn"),
        ({"log_group": "/own"}, "fail"),
    ],
)
def test_log_format_leaves_the_reports_where_they_are_looked_for(changes, verdict):
    row = functions.log_format("f", function(**changes), "/aws/lambda/swarmscope-place-vote")
    assert row.verdict == verdict


@pytest.mark.parametrize(
    ("trigger", "changes", "sources", "queue", "verdict"),
    [
        (ASYNCHRONOUS, {}, [], None, "warn"),
        (ASYNCHRONOUS, {"dead_letter": "arn:aws:sqs:r:1:dead"}, [], None, "pass"),
        (ASYNCHRONOUS, {"on_failure": "arn:aws:sqs:r:1:dead"}, [], None, "pass"),
        (ASYNCHRONOUS, {"on_failure": DENIED}, [], None, "warn"),
        (OF_STREAM, {}, [MAPPING], None, "pass"),
        (OF_STREAM, {}, [Source("tally-votes", "kinesis", "s", "Disabled", "arn:x", None, 1)], None, "fail"),
        (OF_STREAM, {}, [Source("tally-votes", "kinesis", "s", "Enabled", None, None, 1)], None, "warn"),
        (OF_QUEUE, {"timeout_s": 10}, [], Queue(60, dead_letter=True), "pass"),
        (OF_QUEUE, {"timeout_s": 10}, [], Queue(60, dead_letter=False), "warn"),
        (OF_QUEUE, {"timeout_s": 61}, [], Queue(60, dead_letter=True), "fail"),
        (BEHIND_API, {}, [], None, None),
    ],
)
def test_what_fails_for_good_is_kept_somewhere(trigger, changes, sources, queue, verdict):
    row = functions.lost_events("tally-votes", function(**changes), trigger, sources, queue)
    assert (None if row is None else row.verdict) == verdict


# ---------------------------------------------------------------- capacity


def needs(profile, given=None, before=None, same_flows=False, name="place-vote"):
    streams = {"votes": Stream("PROVISIONED", 2, "ACTIVE")}
    return capacity.need(name, demand(profile), Durations(given or {}, before, same_flows), [MAPPING], streams)


def test_littles_law_by_given_durations():
    """200 a second of 150 ms each: 30 at a time."""
    assert needs(paced(200), {"place-vote": 150}).environments == 30
    assert needs(paced(200), {"": 150}).how == "200/s × 150 ms (given)"


def test_littles_law_by_durations_of_an_earlier_run():
    assert needs(paced(200), before=measured(mean_ms={"place-vote": 30})).environments == 6


def test_waiting_users_are_the_most_that_there_can_be():
    assert needs(paced(20, pacing="0.1s"), {"": 1000}).environments == 20


def test_consumer_of_a_stream_gets_one_batch_for_each_shard():
    assert needs(paced(2000), name="tally-votes").environments == 2


@pytest.mark.parametrize(
    ("reserved", "given", "verdict"),
    [(None, {"": 50}, "pass"), (0, {"": 50}, "fail"), (9, {"": 50}, "fail"), (11, {"": 50}, "warn"),
     (20, {"": 50}, "pass"), (20, {}, "warn"), (200, {}, "pass"), (DENIED, {}, "warn")],
)  # fmt: skip
def test_reserved_concurrency_against_the_need(reserved, given, verdict):
    """200 a second of 50 ms: 10. Without a duration 200 users are the most."""
    assert capacity.reserved("place-vote", function(reserved=reserved), needs(paced(200), given)).verdict == verdict


@pytest.mark.parametrize(
    ("available", "status", "qualifier", "verdict"),
    [(10, "READY", ("live",), "pass"), (9, "READY", ("live",), "warn"), (0, "IN_PROGRESS", ("live",), "warn"),
     (10, "READY", (), "warn")],
)  # fmt: skip
def test_provisioned_concurrency_is_ready_enough_and_called(available, status, qualifier, verdict):
    found = function(provisioned=(Provisioned("live", 10, available, status),))
    (row,) = capacity.provisioned("place-vote", found, needs(paced(200), {"": 50}), qualifier)
    assert row.verdict == verdict


def test_each_of_several_qualifiers_needs_its_share_of_provisioned_concurrency():
    """Of 10 environments needed 5 each."""
    found = function(provisioned=(Provisioned("blue", 5, 5, "READY"), Provisioned("green", 4, 4, "READY")))
    rows = capacity.provisioned("place-vote", found, needs(paced(200), {"": 50}), ("blue", "green"))
    assert [(row.subject, row.verdict) for row in rows] == [("place-vote:blue", "pass"), ("place-vote:green", "warn")]


def test_each_qualifier_has_rows_of_its_own():
    versions = {"blue": function(qualifier="blue"), "green": function(qualifier="green", timeout_s=60)}
    facts = Facts(Caller("1", "arn"), asked=True, functions={"place-vote": versions | {"red": Absent()}})
    direct = demand(paced(flows=["direct"]), qualifiers=("blue", "green", "red"))
    rows = functions.rows(direct, facts, paced(), {}, None, 0.0)
    of = {(row.check, row.subject): row.verdict for row in rows}
    assert (of["function", "place-vote:green"], of["function", "place-vote:red"]) == ("pass", "fail")
    assert (of["timeout", "place-vote:blue"], of["timeout", "place-vote:green"]) == ("pass", "warn")
    assert ("memory", "place-vote:red") not in of


def test_versions_of_different_memory_share_the_cost():
    """6,000 calls of 0.2 s, in turns with 256 and 512 MB."""
    versions = {"blue": function(memory_mb=256), "green": function(memory_mb=512)}
    facts = Facts(Caller("1", "arn"), functions={"place-vote": versions})
    direct = demand(paced(100, flows=["direct"]), qualifiers=("blue", "green"))
    found = expense.planned(direct, facts, Durations({"": 200}), sampled_share=0.0)
    assert found["lambda_x86_64_gb_s"] == pytest.approx(3000 * 0.2 * (0.25 + 0.5), rel=1e-4)


@pytest.mark.parametrize(
    ("unreserved", "given", "verdict"),
    [(1000, {"": 50}, "pass"), (11, {"": 50}, "warn"), (9, {"": 50}, "fail"), (199, {}, "warn"), (200, {}, "pass")],
)
def test_account_concurrency_against_the_sum_of_needs(unreserved, given, verdict):
    needed = {"place-vote": needs(paced(200), given)}
    rows = capacity.account_concurrency(Account(1000, unreserved), {"place-vote": function()}, needed)
    assert rows[0].verdict == verdict


def test_quick_functions_meet_the_request_rate_first():
    """2,000 a second of 1 ms need two environments, but 100 of them take 1,000 requests a second."""
    needed = {"place-vote": needs(paced(2000), {"": 1})}
    _, rate = capacity.account_concurrency(Account(1000, 100), {"place-vote": function()}, needed)
    assert (rate.verdict, rate.subject) == ("fail", "place-vote")


@pytest.mark.parametrize(
    ("stream", "verdict"),
    [
        (Stream("PROVISIONED", 2, "ACTIVE"), "pass"),
        (Stream("PROVISIONED", 1, "ACTIVE"), "fail"),
        (Stream("ON_DEMAND", 4, "ACTIVE"), "pass"),
        (Stream("PROVISIONED", 2, "DELETING"), "fail"),
        (Absent(), "fail"),
        (DENIED, "warn"),
    ],
)
def test_shards_against_the_planned_records(stream, verdict):
    row = capacity.shards("votes", stream, 1155.0, Quota(4_194_304, "source"))
    assert row.verdict == verdict
    if isinstance(stream, Stream) and stream.shards == 1:
        assert row.advice == "2 shards needed: PARAMETERS=ShardCount=2"


@pytest.mark.parametrize(
    ("table", "writes", "verdict"),
    [
        (Table("PAY_PER_REQUEST", 0, 0, None, "ACTIVE"), 30_000, "pass"),
        (Table("PAY_PER_REQUEST", 0, 0, None, "ACTIVE"), 41_000, "fail"),
        (Table("PAY_PER_REQUEST", 0, 0, 4000, "ACTIVE"), 5000, "warn"),
        (Table("PROVISIONED", 100, 100, None, "ACTIVE"), 70, "pass"),
        (Table("PROVISIONED", 100, 100, None, "ACTIVE"), 90, "warn"),
        (Table("PROVISIONED", 100, 100, None, "ACTIVE"), 101, "fail"),
    ],
)
def test_table_capacity_against_the_planned_writes(table, writes, verdict):
    (row,) = capacity.table_capacity("shops", table, writes, 0.0, QUOTA, QUOTA, at_most=False)
    assert row.verdict == verdict


def test_reads_have_a_capacity_of_their_own():
    table = Table("PROVISIONED", 100, 10, None, "ACTIVE")
    writes, reads = capacity.table_capacity("votes", table, 50.0, 11.0, QUOTA, QUOTA, at_most=True)
    assert (writes.verdict, reads.verdict) == ("pass", "fail")


def test_writes_that_may_be_fewer_only_warn():
    table = Table("PROVISIONED", 100, 100, None, "ACTIVE")
    (row,) = capacity.table_capacity("votes", table, 101.0, 0.0, QUOTA, QUOTA, at_most=True)
    assert row.verdict == "warn"


@pytest.mark.parametrize(
    ("quota", "simulated", "verdict"),
    [
        (500.0, False, "pass"),
        (59.0, False, "fail"),
        (None, False, "warn"),
        (None, True, "pass"),
        (DENIED, True, "warn"),
        (Unknown("servicequotas:GetServiceQuota", "no such service"), True, "pass"),
        (Unknown("servicequotas:GetServiceQuota", "it timed out"), False, "warn"),
    ],
)
def test_decrypts_against_the_quota_of_the_keys_kind(quota, simulated, verdict):
    row = capacity.key_requests(Key("RSA_2048", "Enabled", quota), 60.0, simulated=simulated)
    assert row is not None
    assert (row.subject, row.verdict) == ("RSA_2048", verdict)
    if verdict == "warn" and quota is None:
        assert "unknown quota" in row.finding
        assert "developerguide/requests-per-second" in row.advice


def test_messages_against_a_quota_that_may_be_unknown():
    assert capacity.message_quota("sns messages", 0.0, Quota(300, "s")) is None
    over = capacity.message_quota("sns messages", 301.0, Quota(300, "s"))
    unknown = capacity.message_quota("eventbridge calls", 1.0, Quota(None, "https://page"))
    assert over is not None
    assert unknown is not None
    assert (over.verdict, unknown.verdict, unknown.advice) == ("fail", "warn", "see https://page")


# ---------------------------------------------------------------- generator


@pytest.mark.parametrize(
    ("users", "asked", "tls", "verdict", "advice"),
    [
        (500, 0, False, "pass", ""),
        (600, 0, False, "warn", "WORKERS=2"),
        (1100, 1, False, "fail", "WORKERS=3"),
        (600, 2, False, "pass", ""),
        (600, 2, True, "warn", "WORKERS=3"),
        (1100, 3, False, "warn", "several machines"),
    ],
)
def test_workers_against_the_rate_of_a_core(users, asked, tls, verdict, advice):
    profile = paced(users)
    row = generator.workers(demand(profile), profile, RATES, MACHINE, asked, tls=tls, sandbox=False)
    assert row.verdict == verdict
    assert advice in row.advice


def test_invokes_cost_a_core_more_than_api_calls():
    profile = paced(200, flows={"vote": 1, "direct": 1})
    assert generator.cores_needed(demand(profile), profile, RATES, tls=False) == pytest.approx(0.1 + 0.4)


def test_sandbox_takes_a_core():
    profile = paced(600)
    row = generator.workers(demand(profile), profile, RATES, MACHINE, 2, tls=False, sandbox=True)
    assert (row.verdict, "one of them for the sandbox" in row.finding) == ("warn", True)


@pytest.mark.parametrize(
    ("users", "workers", "hard", "verdict"),
    [(900, 0, 4096, "pass"), (1000, 0, 4096, "fail"), (1000, 2, 4096, "pass"), (9000, 0, 20_000, "pass")],
)
def test_open_files_of_a_process_against_its_connections(users, workers, hard, verdict):
    """Locust raises its limit to 10,000 by itself, where it may."""
    machine = Machine(1024, hard, 28_000, 2)
    assert generator.open_files(paced(users), machine, workers).verdict == verdict


@pytest.mark.parametrize(("users", "verdict"), [(28_000, "pass"), (28_001, "fail")])
def test_ports_against_all_connections(users, verdict):
    assert generator.ports(paced(users), MACHINE, 0).verdict == verdict


# ---------------------------------------------------------------- cost


def test_plan_is_priced_by_durations_and_memory():
    """100 users for 60 s: 6,000 votes of 0.2 s and 256 MB."""
    facts = Facts(Caller("1", "arn"), functions={"place-vote": {None: function(memory_mb=256)}})
    found = expense.planned(demand(paced(100)), facts, Durations({"": 200}), sampled_share=0.5)
    assert found["lambda_requests"] == found["api_rest_requests"] == pytest.approx(6000, abs=0.01)
    assert found["lambda_x86_64_gb_s"] == pytest.approx(6000 * 0.2 * 0.25, rel=1e-4)
    assert (found["xray_traces"], found["logs_ingested_gb"]) == (pytest.approx(3000, abs=0.01), None)


def test_earlier_run_is_scaled_by_requests_and_what_goes_by_the_clock_by_time():
    before = measured(requests=1000, duration_s=30.0, quantities={"lambda_requests": 1100, "kinesis_shard_hours": 0.01})
    assert expense.scaled(demand(paced(100)), before) == {
        "lambda_requests": pytest.approx(6600),
        "kinesis_shard_hours": pytest.approx(0.02),
    }


def test_estimate_says_its_source_and_what_is_missing():
    prices, facts = load_prices("us-east-1"), Facts(Caller("1", "arn"))
    before = measured(quantities={"api_rest_requests": 1000})
    by_run = expense.estimate(demand(paced(100)), facts, Durations({}, before, True), prices, 0.0)
    by_plan = expense.estimate(demand(paced(100)), facts, Durations({}, before, False), prices, 0.0)
    assert (by_run.source, by_plan.source) == ("run 20261121T100000Z-x", "the plan")
    assert "how much of CloudWatch Logs, ingested is not known" in by_plan.missing
    assert expense.cost(by_plan, simulated=False).finding.startswith("about $")


def test_environments_that_are_kept_cost_as_long_as_the_run_goes():
    """Ten of 256 MB for a minute."""
    kept = function(provisioned=(Provisioned("live", 10, 10, "READY"),))
    facts = Facts(Caller("1", "arn"), functions={"place-vote": {None: kept}})
    bill = expense.estimate(demand(paced(100)), facts, Durations({}), load_prices("us-east-1"), 0.0)
    (line,) = [line for line in bill.lines if line.item == "lambda_provisioned_x86_64_gb_s"]
    assert line.quantity == 10 * 60 * 0.25


def test_limits_are_held_against_the_plan():
    settings = settings_from({"AWS_REGION": "us-east-1", "TARGET": "aws", "MAX_USERS": "99", "MAX_COST_USD": "0.01"})
    users, usd = expense.limits(settings, paced(100), load_prices("us-east-1"), Sending())
    assert (users.subject, users.verdict) == ("MAX_USERS", "fail")
    assert (usd.subject, usd.verdict) == ("MAX_COST_USD", "fail")
    assert "plans up to 6,000 requests" in usd.finding
    assert expense.limits(settings_from({}), paced(100), load_prices("us-east-1"), Sending()) == []


def test_messages_of_a_batch_count_each():
    batched = demand(paced(10, flows=["events"]), event_destinations=("sqs",), event_batch=10)
    assert batched.rate("queue", "events") == 100
    assert batched.total("queue") == pytest.approx(6000)


def test_uses_of_one_kind_add_up():
    shop = demand(paced(10, flows=["shop"]))
    assert shop.total("topic") == pytest.approx(2 * 600)
    assert shop.uses[Use("topic", "sales")] == 1.0
