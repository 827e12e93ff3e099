"""Whether API Gateway lets the planned requests through. Pure: facts -> rows.

From AWS documentation: requests are throttled by client and method in a usage plan, then by method in the stage, then
by the account, each a token bucket of its burst that fills at its rate (API Gateway, "Throttle requests to your REST
APIs"); throttles and quota of a usage plan are those of each of its API keys ("Usage plans and API keys").
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from analysis.formatting import count
from control.preflight.facts import Absent, Api, Limit, Unknown, UsagePlan
from control.preflight.rates import ROOM, rate_row
from control.preflight.rows import FAIL, PASS, WARN, Row, not_asked

_SIGMAS = 3
_RAISE_STAGE = "raise the stage's throttling, or send less"
_RAISE_ACCOUNT = "ask for a higher quota (Service Quotas, API Gateway, L-8A5B8E43): all APIs of the account share it"
_RAISE_PLAN = "raise the usage plan's throttling, take a key of another plan, or send less"


def throttles(api: Api | Absent | Unknown | None, rate: float | None) -> list[Row]:
    """Limits of stage and account against the planned rate. None of the API: see `gateway.address_of`."""
    check = "api throttle"
    if api is None:
        said = "API_BASE_URL is no address of API Gateway, nor a custom domain of this account in this Region"
        return [Row(check, "", WARN, said, "its limits are not known: ask whoever runs it")]
    if isinstance(api, Unknown):
        return [not_asked(check, "", api)]
    if isinstance(api, Absent):
        advice = "look at API_BASE_URL, with the stage or, of a custom domain, the base path"
        return [Row(check, "", FAIL, "the target has no such API, stage or base path", advice)]
    behind = f" behind {api.address.domain}" if api.address.domain else ""
    rows = list(_against(check, f"stage {api.address.stage}{behind}", api.of_stage, rate, _RAISE_STAGE))
    if isinstance(api.of_account, Unknown):
        rows.append(not_asked(check, "account", api.of_account))
    else:
        rows += _against(check, "account", (api.of_account,), rate, _RAISE_ACCOUNT)
    return rows


def usage_plans(api: Api | Absent | Unknown | None, rate: float | None, requests: float | None) -> list[Row]:
    """Throttle and quota of the stage's usage plans against the load. `requests`: of the whole run.

    A plan counts only for methods that require a key (API Gateway, "Set up API keys for REST APIs"). Values of keys are
    secrets that are not asked for: without API_KEY_ID any of several plans may be that of API_KEY.
    """
    check = "usage plan"
    if not isinstance(api, Api):
        return []
    if isinstance(api.plans, Unknown):
        return [not_asked(check, "", api.plans)]
    keyed = None if isinstance(api.methods, Unknown) else [one.key_required for one in api.methods]
    if api.plans and keyed is not None and not any(keyed):
        return [Row(check, "", PASS, "no method requires a key, so that no plan counts")]
    sure = len(api.plans) == 1 and keyed is not None and all(keyed)
    rows: list[Row] = []
    if len(api.plans) > 1:
        said = f"{len(api.plans)} plans have the stage, and which one has the key is not known"
        rows.append(Row(check, "", WARN, said, "set API_KEY_ID to the id of the key, which is no secret"))
    for plan in api.plans:
        if isinstance(plan.left, Unknown):
            rows.append(not_asked(check, plan.name, plan.left))
        rows += _against(check, plan.name, plan.limits, rate, _RAISE_PLAN, sure=sure)
        rows += [] if plan.quota is None else [_quota(check, plan, requests, sure=sure)]
    return rows


def entrance(api: Api | Absent | Unknown | None, api_auth: str, *, has_key: bool) -> list[Row]:
    """What the methods of an API ask of their caller against what requests will carry."""
    if not isinstance(api, Api) or not api.methods:
        return []
    if isinstance(api.methods, Unknown):
        return [not_asked("api access", api.address.stage, api.methods)]
    rows = []
    for asking, carried, what, advice in (
        (
            [one.name for one in api.methods if one.key_required],
            has_key and bool(api.plans),
            "an API key of a usage plan of the stage",
            "set API_KEY, and see that its usage plan has the stage",
        ),
        (
            [one.name for one in api.methods if one.authorization == "AWS_IAM"],
            api_auth == "iam",
            "a signature",
            "set API_AUTH=iam",
        ),
    ):
        if asking and not carried:
            verdict = FAIL if len(asking) == len(api.methods) else WARN
            rows.append(
                Row("api access", api.address.stage, verdict, f"without {what} 403 from {', '.join(asking)}", advice)
            )
    return rows or [Row("api access", api.address.stage, PASS, "requests carry what its methods ask for")]


def access_log(api: Api | Absent | Unknown | None) -> list[Row]:
    """Whether the stage writes one; nothing is said where it does."""
    if not isinstance(api, Api) or api.access_log:
        return []
    advice = "with one in JSON (docs/your-own-functions.md) requests that fail before the function are explained"
    return [Row("access log", api.address.stage, WARN, "the stage writes none", advice)]


def _against(
    check: str, subject: str, limits: tuple[Limit, ...], rate: float | None, advice: str, *, sure: bool = True
) -> Iterator[Row]:
    """A row for each limit. How many requests go to one method is not known: at most all of them do."""
    if not limits or all(limit.rate is None for limit in limits):
        yield Row(check, subject, PASS, "no limit of its own")
        return
    for limit in limits:
        if limit.rate is None:
            continue
        of = f"{limit.method}: " if limit.method else ""
        said = f"{of}{count(limit.rate)} a second, bucket of {count(limit.burst)}"
        row = rate_row(check, subject, rate, limit.rate, said, advice, sure=sure and not limit.method)
        if row.verdict == PASS and rate and limit.burst is not None and limit.burst < least_burst(rate, limit.rate):
            needed = f"arrivals at random need one of {least_burst(rate, limit.rate)}"
            row = Row(check, subject, WARN, f"{row.finding}; {needed}", "raise the burst: what overflows is refused")
        yield row


def least_burst(rate: float, limit: float) -> int:
    """The bucket that random arrivals below a limit hardly ever empty.

    In a time t there come r t + 3 sqrt(r t) of them (Poisson, three standard deviations), and R t tokens: the
    difference is greatest at sqrt(r t) = 3 r / 2(R - r), where it is 9 r / 4(R - r).
    """
    return max(1, math.ceil(_SIGMAS**2 * rate / (4 * max(limit - rate, (1 - ROOM) * limit))))


def _quota(check: str, plan: UsagePlan, requests: float | None, *, sure: bool) -> Row:
    assert plan.quota is not None
    left = plan.left if isinstance(plan.left, float) else None
    of_period = f"{count(plan.quota)} requests a {plan.period.lower()}"
    said = f"{of_period}, {'some of which may be spent already' if left is None else f'{count(left)} left'}"
    most = plan.quota if left is None else left
    if left == 0:
        return Row(check, plan.name, FAIL if sure else WARN, said, "raise the quota, or take a key of another plan")
    if requests is None:
        return Row(check, plan.name, WARN, f"{said}; how many are planned is not known")
    finding = f"{said}; {count(requests)} planned"
    if requests > most:
        return Row(check, plan.name, FAIL if sure else WARN, finding, "raise the usage plan's quota, or send less")
    if requests > ROOM * most:
        advice = "little room is left; " + ("see what is spent, raise the quota" if left is None else "raise the quota")
        return Row(check, plan.name, WARN, finding, advice)
    return Row(check, plan.name, PASS, finding)
