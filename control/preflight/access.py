"""Whether the target can be reached at all, by whom, and what may be asked of it. Pure: facts -> rows."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from config.prices import Prices
from config.settings import Settings
from control.preflight.facts import Answer, Caller, Unknown
from control.preflight.rows import FAIL, PASS, WARN, Row, not_asked

CLOCK_WARN_S = 1.0
"""Requests and logs are put side by side by their times."""
CLOCK_FAIL_S = 300.0
"""AWS refuses signatures whose time is five minutes off (AWS Signature Version 4, "request timestamp")."""
_FORBIDDEN = frozenset({"ForbiddenException"})


def credentials(caller: Caller | Unknown) -> Row:
    """Who asks, or why nobody does."""
    if isinstance(caller, Caller):
        return Row("credentials", "", PASS, f"account {caller.account}, {caller.arn}")
    if caller.denied:
        return not_asked("credentials", "", caller)
    return Row("credentials", "", FAIL, caller.why, caller.hint or "see AWS_PROFILE and AWS_REGION in .env.example")


def region(settings: Settings, found: str | None, prices: Prices) -> Row:
    """`found`: the region that the SDK came to."""
    if found is None:
        return Row("region", "", FAIL, "no region is known", "set AWS_REGION")
    if not prices.prices:
        return Row("region", found, WARN, "no prices of this region are known", f"add them: config/prices/{found}.toml")
    if settings.target == "aws" and settings.endpoint_url is not None:
        return Row(
            "region",
            found,
            WARN,
            f"AWS_ENDPOINT_URL is set: {settings.endpoint_url}",
            "with TARGET=aws unset it, unless it is meant",
        )
    return Row("region", found, PASS, f"prices of {prices.date}")


def endpoint(answer: Answer) -> Row:
    """One request has got an answer, of the kind that was to be expected."""
    if answer.status is None:
        return Row(
            "endpoint",
            answer.where,
            FAIL,
            f"{answer.asked}: no answer: {answer.error}",
            "look at API_BASE_URL, AWS_ENDPOINT_URL and the network",
        )
    took = "" if answer.ms is None else f" in {answer.ms:.0f} ms"
    said = f"{answer.asked}: {answer.status} {answer.error}".rstrip()
    if answer.error in _FORBIDDEN:
        return Row("endpoint", answer.where, FAIL, said, "no such API or stage: look at API_BASE_URL, with the stage")
    if answer.status >= 500:
        return Row("endpoint", answer.where, WARN, said + took, "it answers with errors before there is any load")
    if answer.missing:
        verdict = FAIL if answer.by_load else WARN
        advice = f"ask for a policy that allows {answer.missing}"
        return Row("endpoint", answer.where, verdict, f"may not {answer.missing}", advice)
    # API Gateway has no route for OPTIONS, which is an answer like any other; services are asked what they can do.
    if answer.status >= 400 and not answer.asked.startswith("OPTIONS"):
        return Row("endpoint", answer.where, FAIL, said, "look at the function's, queue's, topic's or stream's name")
    return Row("endpoint", answer.where, PASS, said + took)


def clock(answers: tuple[Answer, ...]) -> Row | None:
    """How far this machine's clock is off, by the most exact answer; None where none had a Date."""
    dated = [answer for answer in answers if answer.clock_offset_s is not None]
    if not dated:
        return None
    best = min(dated, key=lambda answer: answer.clock_error_s)
    assert best.clock_offset_s is not None
    offset_s = best.clock_offset_s
    said = f"the target's clock is {offset_s:+.1f} s from this one's, ± {best.clock_error_s:.1f} s"
    sure_s = max(0.0, abs(offset_s) - best.clock_error_s)
    if sure_s >= CLOCK_FAIL_S:
        return Row("clock", best.where, FAIL, said, "AWS refuses what is signed five minutes off: set the clock (NTP)")
    if sure_s >= CLOCK_WARN_S:
        return Row("clock", best.where, WARN, said, "set the clock (NTP): requests and logs are joined by time too")
    return Row("clock", best.where, PASS, said)


def permissions(allowed: Mapping[str, bool] | Unknown | None, denied: tuple[str, ...]) -> list[Row]:
    """What load and analysis may do, and which questions of this preflight were refused."""
    rows = []
    if isinstance(allowed, Unknown):
        rows.append(not_asked("permissions", "load and analysis", allowed))
    elif allowed is not None:
        missing = [action for action, may in allowed.items() if not may]
        if missing:
            rows.append(
                Row(
                    "permissions",
                    "load and analysis",
                    FAIL,
                    f"the policies do not allow {', '.join(missing)}",
                    "ask for a policy that does",
                )
            )
        else:
            rows.append(Row("permissions", "load and analysis", PASS, f"allowed: {', '.join(allowed)}"))
    asked = [action for action in denied if action != "iam:SimulatePrincipalPolicy"]
    if asked:
        rows.append(
            Row(
                "permissions",
                "preflight",
                WARN,
                f"may not {', '.join(asked)}",
                "needs these actions for the checks that say so; the run itself may do without",
            )
        )
    return rows


def allowed_hosts(settings: Settings, api_base_url: str | None, services: Mapping[str, str]) -> list[Row]:
    """Whether load may go where it is to go. `api_base_url`: None where no API is called; `services`: AWS service that
    the load calls itself -> host, which need be named only where ALLOWED_HOSTS is set."""
    of_run = settings.model_copy(update={"api_base_url": api_base_url or settings.api_base_url})
    hosts = [] if api_base_url is None else [urlsplit(api_base_url).hostname or ""]
    hosts += services.values() if settings.allowed_hosts is not None else []
    refused = [host for host in dict.fromkeys(hosts) if not of_run.host_allowed(host)]
    if refused:
        said = f"load to {', '.join(refused)} is not allowed with TARGET={settings.target}"
        return [Row("limits", "ALLOWED_HOSTS", FAIL, said, "add the host, or look at API_BASE_URL")]
    if not hosts:
        return []
    return [Row("limits", "ALLOWED_HOSTS", PASS, f"load may go to {', '.join(dict.fromkeys(hosts))}")]
