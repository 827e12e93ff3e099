"""Asks API Gateway about the API that requests go to: its address, its limits, what its methods want of a caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from analysis.deployment import api_address
from config.settings import is_loopback
from control.preflight.facts import Absent, Api, ApiAddress, Limit, Method, Unknown, UsagePlan
from control.preflight.questions import Questions

_NO_BASE_PATH = "(none)"
"""What GetBasePathMappings calls the mapping of a whole domain."""


def address_of(questions: Questions, url: str | None) -> ApiAddress | Absent | Unknown | None:
    """Which stage of which API an address leads to; Absent where a custom domain maps it to none, None where it is
    neither an address of API Gateway nor a custom domain of this account in this Region."""
    if own := api_address(url):
        return ApiAddress(*own)
    parts = urlsplit(url or "")
    domain = parts.hostname
    if domain is None or is_loopback(domain):
        return None
    mappings = _mappings(questions, domain)
    if not isinstance(mappings, dict):
        return mappings
    path = parts.path.strip("/")
    for key in sorted(mappings, key=len, reverse=True):
        if not key or f"{path}/".startswith(f"{key}/"):
            api_id, stage = mappings[key]
            # A mapping may name no stage: then callers do, behind the base path.
            stage = stage or path.removeprefix(key).strip("/").partition("/")[0]
            return ApiAddress(api_id, stage, domain) if stage else Absent()
    return Absent()


def _mappings(questions: Questions, domain: str) -> dict[str, tuple[str, str | None]] | Unknown | None:
    """Base path -> API and stage. The older API knows the domains of both kinds of API and edge-optimized ones, the
    newer one base paths of several parts."""
    rest, http_apis = questions.client("apigateway"), questions.client("apigatewayv2")
    paginator = rest.get_paginator("get_base_path_mappings")
    older = questions.ask("apigateway:GET", lambda: list(paginator.paginate(domainName=domain).search("items[]")))
    if isinstance(older, Absent):
        return None
    newer = questions.ask("apigateway:GET", lambda: http_apis.get_api_mappings(DomainName=domain, MaxResults="1000"))
    if isinstance(older, Unknown) and isinstance(newer, Absent | Unknown):
        return older
    found = {}
    for one in [] if isinstance(older, Unknown) else older:
        base_path = one.get("basePath", _NO_BASE_PATH)
        found["" if base_path == _NO_BASE_PATH else base_path] = one["restApiId"], one.get("stage")
    for one in [] if isinstance(newer, Absent | Unknown) else newer.get("Items") or []:
        found[one.get("ApiMappingKey") or ""] = one["ApiId"], one["Stage"]
    return found


def ask_api(
    questions: Questions,
    address: ApiAddress | Absent | Unknown | None,
    *,
    has_key: bool,
    key_id: str | None,
    today: date,
) -> Api | Absent | Unknown | None:
    """`has_key`: requests carry an API key, which has a usage plan; `key_id`: which key that is, None where nobody
    says; `today`: in UTC."""
    if not isinstance(address, ApiAddress):
        return address
    rest = questions.client("apigateway")
    api_id, stage = address.api_id, address.stage
    found = questions.ask("apigateway:GET", lambda: rest.get_stage(restApiId=api_id, stageName=stage))
    if isinstance(found, Absent):
        return _http_api(questions, address)
    if isinstance(found, Unknown):
        return found
    log = found.get("accessLogSettings") or {}
    return Api(
        kind="rest",
        address=address,
        of_stage=tuple(
            Limit(
                settings.get("throttlingRateLimit"),
                settings.get("throttlingBurstLimit"),
                "" if path == "*/*" else _method_of_setting(path),
            )
            for path, settings in (found.get("methodSettings") or {}).items()
        ),
        of_account=_account_limit(questions),
        access_log=bool(log.get("destinationArn")),
        plans=_usage_plans(questions, address, key_id, today) if has_key else (),
        methods=_methods(questions, api_id),
    )


def _http_api(questions: Questions, address: ApiAddress) -> Api | Absent | Unknown:
    http_apis = questions.client("apigatewayv2")
    found = questions.ask("apigateway:GET", lambda: http_apis.get_stage(ApiId=address.api_id, StageName=address.stage))
    if isinstance(found, Absent | Unknown):
        return found
    of_routes = found.get("RouteSettings") or {}
    settings = {"": found.get("DefaultRouteSettings") or {}, **of_routes}
    return Api(
        kind="http",
        address=address,
        of_stage=tuple(
            Limit(one.get("ThrottlingRateLimit"), one.get("ThrottlingBurstLimit"), route)
            for route, one in settings.items()
        ),
        of_account=_account_limit(questions),
        access_log=bool((found.get("AccessLogSettings") or {}).get("DestinationArn")),
    )


def _account_limit(questions: Questions) -> Limit | Unknown:
    rest = questions.client("apigateway")
    found = questions.ask("apigateway:GET", lambda: rest.get_account().get("throttleSettings") or {})
    if isinstance(found, Unknown):
        return found
    told = {} if isinstance(found, Absent) else found
    return Limit(told.get("rateLimit"), told.get("burstLimit"))


def _method_of_setting(path: str) -> str:
    """`~1vote~1{vote_id}/GET`, as the settings of a stage name a method -> `GET /vote/{vote_id}`."""
    resource, _, method = path.rpartition("/")
    return f"{method} {resource.replace('~1', '/')}"


def _usage_plans(
    questions: Questions, address: ApiAddress, key_id: str | None, today: date
) -> tuple[UsagePlan, ...] | Unknown:
    """Those that have the stage and, where it is known, the key. By its value a key is not looked for: the answers
    would have the values of others, too."""
    paginator = questions.client("apigateway").get_paginator("get_usage_plans")
    of_key = {} if key_id is None else {"keyId": key_id}
    found = questions.ask("apigateway:GET", lambda: list(paginator.paginate(**of_key).search("items[]")))
    if isinstance(found, Unknown):
        return found
    plans = []
    for plan in [] if isinstance(found, Absent) else found:
        for of_stage in plan.get("apiStages") or []:
            if (of_stage.get("apiId"), of_stage.get("stage")) != (address.api_id, address.stage):
                continue
            quota = plan.get("quota") or {}
            limits = [
                _plan_limit(plan.get("throttle") or {}, ""),
                *(
                    _plan_limit(throttle, " ".join(reversed(path.rsplit("/", 1))))
                    for path, throttle in (of_stage.get("throttle") or {}).items()
                ),
            ]
            one = UsagePlan(
                plan.get("name") or plan["id"], tuple(limits), quota.get("limit"), quota.get("period", ""), key_id
            )
            if key_id is not None and one.quota is not None:
                one = replace(one, left=_left(questions, plan["id"], key_id, today))
            plans.append(one)
    return tuple(plans)


def _left(questions: Questions, plan_id: str, key_id: str, today: date) -> float | Unknown | None:
    """What a key may still send in this period; None where the target does not tell.

    GetUsage has a pair of used and remaining for each day; its keys may be the values of API keys, so that only what
    they stand for is looked at.
    """
    paginator = questions.client("apigateway").get_paginator("get_usage")
    asked = {"usagePlanId": plan_id, "keyId": key_id, "startDate": today.isoformat(), "endDate": today.isoformat()}
    found = questions.ask("apigateway:GET", lambda: list(paginator.paginate(**asked)))
    if isinstance(found, Absent | Unknown):
        return None if isinstance(found, Absent) else found
    days = [day for page in found for of_key in (page.get("items") or {}).values() for day in of_key]
    return float(days[-1][1]) if days else None


def _plan_limit(throttle: Mapping[str, Any], method: str) -> Limit:
    return Limit(throttle.get("rateLimit"), throttle.get("burstLimit"), method)


def _methods(questions: Questions, api_id: str) -> tuple[Method, ...] | Unknown:
    paginator = questions.client("apigateway").get_paginator("get_resources")
    found = questions.ask(
        "apigateway:GET", lambda: list(paginator.paginate(restApiId=api_id, embed=["methods"]).search("items[]"))
    )
    if isinstance(found, Unknown):
        return found
    return tuple(
        Method(
            f"{name} {resource['path']}", method.get("authorizationType", "NONE"), bool(method.get("apiKeyRequired"))
        )
        for resource in ([] if isinstance(found, Absent) else found)
        for name, method in (resource.get("resourceMethods") or {}).items()
        if name != "OPTIONS"
    )
