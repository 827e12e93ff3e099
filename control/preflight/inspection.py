"""The whole preflight: demand, facts, all checks in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from config.aws import client
from config.aws_refusals import explain
from config.budget import Sending
from config.errors import ConfigError
from config.generator_rates import load_generator_rates
from config.prices import load_prices
from config.quotas import load_quotas
from config.settings import Settings
from control.preflight import access, api, capacity, expense, functions, generator
from control.preflight.capacity import Durations, Need
from control.preflight.demand import Demand, demand_of
from control.preflight.expense import Estimate
from control.preflight.facts import Caller, Facts, Unknown
from control.preflight.gather import caller, gather, machine
from control.preflight.measured import measured_before
from control.preflight.questions import Questions
from control.preflight.rows import FAIL, WARN, Row
from control.run_request import Checked
from control.stack_outputs import RunTarget, from_settings, with_custom, with_public_key
from control.target import known_resources, nowhere_else


@dataclass(frozen=True)
class Preflight:
    """What was found."""

    profile: str
    target: str
    simulated: bool
    rows: tuple[Row, ...]
    estimate: Estimate
    demand: Demand


def inspect(
    checked: Checked, settings: Settings, durations: Mapping[str, float], say: Callable[[str], None]
) -> Preflight:
    """Look at everything. `settings`: with the endpoint of the sandbox that was found or started; `durations`: those
    given, as `capacity.Durations` has them. Raises nothing that the target answers."""
    profile = checked.profile
    questions = Questions(cache(lambda service: client(settings, service)), settings.profile)
    missing: list[Row] = []
    region, who = _caller(questions, settings)
    resources = _resources(checked, settings, say, missing) if isinstance(who, Caller) else None
    known = resources or with_custom(from_settings(settings), checked.custom, settings.log_groups)
    asynchronous = checked.environ.get("INVOCATION_TYPE") == "Event"
    qualifiers = tuple(checked.environ.get("QUALIFIER", "").replace(",", " ").split())

    def needs_of(response_ms: float) -> Demand:
        return demand_of(
            profile,
            known.event_destinations,
            known.functions,
            checked.custom,
            variables={**checked.environ, **known.environment()},
            response_ms=response_ms,
            direct_is_asynchronous=asynchronous,
            qualifiers=qualifiers,
            event_batch=checked.event_batch,
        )

    before = measured_before(settings.runs_dir, settings.target, needs_of(0.0).triggers)
    same_flows = before is not None and before.flows == tuple(sorted(profile.flows))
    demand = needs_of((before.response_ms or 0.0) if before is not None and same_flows else 0.0)
    facts = Facts(caller=who)
    prices = load_prices(region or "")
    known_durations = Durations(durations, before, same_flows)
    api_base_url = known.api_base_url if demand.names("api") else None
    hosts = access.allowed_hosts(settings, api_base_url, _services(questions, checked, demand, known))
    if resources is not None:
        say("asking the target")
        may_ask_api = not any(row.verdict == FAIL for row in hosts)
        facts = gather(
            questions,
            who,
            resources,
            demand,
            region=region,
            may_ask_api=may_ask_api,
            signs=settings.api_auth == "iam",
            has_key=settings.api_key is not None,
            key_id=settings.api_key_id,
        )
    expected_groups = {} if settings.log_groups else known.log_groups
    rows = [
        capacity.load(demand),
        access.credentials(who),
        access.region(settings, region, prices),
        *missing,
        *(access.endpoint(answer) for answer in facts.answers),
        *hosts,
        *filter(None, [access.clock(facts.answers)]),
        *access.permissions(facts.permissions, facts.denied),
        *functions.rows(demand, facts, profile, expected_groups, before, settings.sampled_share),
        *_capacity(settings, demand, facts, known_durations, region),
        *_generator(checked, settings, known, demand),
    ]
    estimate = expense.estimate(demand, facts, known_durations, prices, settings.sampled_share)
    rows.append(expense.cost(estimate, simulated=settings.simulated))
    sending = Sending(known.event_destinations, checked.event_batch, checked.custom)
    rows += expense.limits(settings, profile, prices, sending)
    return Preflight(profile.name, settings.target, settings.simulated, tuple(rows), estimate, demand)


def _caller(questions: Questions, settings: Settings) -> tuple[str | None, Caller | Unknown]:
    """The region, as the SDK comes to it, and who asks."""
    try:
        region: str | None = questions.client("sts").meta.region_name
    except ConfigError as no_region:
        return None, Unknown("sts:GetCallerIdentity", str(no_region))
    except BotoCoreError as wrong:  # a profile that the SDK does not know
        return settings.region, Unknown("sts:GetCallerIdentity", str(wrong))
    return region, caller(questions)


def _resources(checked: Checked, settings: Settings, say: Callable[[str], None], rows: list[Row]) -> RunTarget:
    """What the run would go to, as far as it can be found; `rows` gets what is missing."""
    found = with_custom(from_settings(settings), checked.custom, settings.log_groups)
    try:
        found = known_resources(settings, say, checked.request.parameters, checked.custom)
    except ConfigError as wrong:
        rows += [Row("resources", "", FAIL, problem) for problem in wrong.problems]
    except (ClientError, BotoCoreError) as refused:
        told = explain(refused, settings.profile)
        rows.append(
            Row("resources", "stack", WARN, str(refused))
            if told is None
            else Row(
                "resources",
                "stack",
                WARN,
                f"may not {told.action}" if told.action else told.message,
                f"{told.hint}; or name API and functions in .env",
            )
        )
    try:
        if "shop" in checked.profile.flows:
            found = with_public_key(found, client(settings, "kms"))
        found.require(checked.profile.flows, nowhere_else(settings), checked.custom)
    except ConfigError as missing:
        rows += [Row("resources", "", FAIL, problem) for problem in missing.problems]
    return found


def _services(questions: Questions, checked: Checked, demand: Demand, known: RunTarget) -> dict[str, str]:
    """AWS service that the load calls itself -> its host."""
    called = ["lambda"] if demand.invoked else []
    called += known.event_destinations if "events" in checked.profile.flows else []
    called += checked.custom.services if checked.custom is not None else []
    found = {}
    for service in dict.fromkeys(called):
        with suppress(ConfigError, BotoCoreError):  # a region that is missing has a row of its own
            found[service] = urlsplit(questions.client(service).meta.endpoint_url).hostname or ""
    return found


def _capacity(
    settings: Settings,
    demand: Demand,
    facts: Facts,
    durations: Durations,
    region: str | None,
) -> list[Row]:
    quotas = load_quotas()
    # What a function has as a whole is the same in each of its qualifiers.
    there = {name: versions[0] for name in facts.functions if (versions := facts.there(name))}
    needs: dict[str, Need] = {
        name: capacity.need(name, demand, durations, facts.sources, facts.streams) for name in there
    }
    found: list[Row] = [capacity.reserved(name, one, needs[name]) for name, one in there.items()]
    for name, one in there.items():
        found += capacity.provisioned(name, one, needs[name], demand.invoked.get(name, ()))
    found += capacity.account_concurrency(facts.account, there, needs)
    if facts.asked and demand.names("api"):
        found += api.throttles(facts.api, demand.rate("api"))
        found += api.usage_plans(facts.api, demand.rate("api"), demand.total("api"))
        found += api.entrance(facts.api, settings.api_auth, has_key=settings.api_key is not None)
        found += api.access_log(facts.api)
    found += [
        capacity.shards(name, one, demand.rate("stream", name), quotas.of("kinesis_on_demand_bytes_per_s", region))
        for name, one in facts.streams.items()
    ]
    for name, table in facts.tables.items():
        found += capacity.table_capacity(
            name,
            table,
            demand.rate("write", name),
            demand.rate("read", name),
            quotas.of("dynamodb_table_write_units_per_s", region),
            quotas.of("dynamodb_table_read_units_per_s", region),
            # The votes of a batch for one id are written together.
            at_most=name == "votes",
        )
    found += filter(
        None,
        [
            capacity.key_requests(facts.key, demand.rate("decrypt"), simulated=settings.simulated),
            capacity.message_quota("sns messages", _all(demand, "topic"), quotas.of("sns_publishes_per_s", region)),
            capacity.message_quota(
                "eventbridge calls", _all(demand, "bus"), quotas.of("eventbridge_puts_per_s", region)
            ),
        ],
    )
    return found


def _all(demand: Demand, kind: str) -> float | None:
    rates = [demand.rate(kind, name) for name in demand.names(kind)]
    return None if None in rates else sum(rate for rate in rates if rate is not None)


def _generator(checked: Checked, settings: Settings, known: RunTarget, demand: Demand) -> list[Row]:
    here, profile = machine(), checked.profile
    tls = urlsplit(known.api_base_url or "").scheme == "https"
    return [
        generator.workers(
            demand,
            profile,
            load_generator_rates(),
            here,
            checked.workers,
            tls=tls,
            sandbox=settings.target == "sandbox",
        ),
        generator.open_files(profile, here, checked.workers),
        generator.ports(profile, here, checked.workers),
    ]
