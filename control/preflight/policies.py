"""Asks IAM whether the caller's policies allow what load and analysis do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from config.settings import function_name
from control.preflight.demand import Demand
from control.preflight.facts import Absent, ApiAddress, Caller, Unknown
from control.preflight.questions import Questions
from control.stack_outputs import RunTarget

_LOAD_ACTIONS = {
    "sqs": ("sqs:SendMessage", "{}"),
    "sns": ("sns:Publish", "{}"),
    "events": ("events:PutEvents", "event-bus/{}"),
    "kinesis": ("kinesis:PutRecord", "stream/{}"),
}
"""Service that messages are sent to -> IAM action, form of the resource in its ARN."""


def needed(
    demand: Demand,
    target: RunTarget,
    account: str,
    region: str,
    partition: str = "aws",
    signed_to: ApiAddress | Absent | Unknown | None = None,
) -> Iterator[tuple[str, str]]:
    """(IAM action, ARN that it is needed on) of what load and analysis do and no question above has tried.

    `signed_to`: where requests go that are signed.
    """

    def arn(service: str, resource: str) -> str:
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"

    for logical in sorted(demand.invoked.keys() & target.functions.keys()):
        yield "lambda:InvokeFunction", arn("lambda", f"function:{function_name(target.functions[logical])}")
    if isinstance(signed_to, ApiAddress):
        for method, path in demand.api_methods:
            yield "execute-api:Invoke", arn("execute-api", f"{signed_to.api_id}/{signed_to.stage}/{method}{path}")
    for service, destination, batched in demand.sent:
        address = target.event_destinations.get(service, "") if destination == "events" else destination
        action, resource = _LOAD_ACTIONS[service]
        # The one service whose batches need an action of their own.
        action = "kinesis:PutRecords" if action == "kinesis:PutRecord" and batched else action
        plain = address.rpartition("/")[2].rpartition(":")[2]
        yield action, address if address.startswith("arn:") else arn(service, resource.format(plain))
    groups = [group for logical, group in target.log_groups.items() if logical in demand.triggers]
    if groups:
        yield "logs:StartQuery", arn("logs", f"log-group:{groups[0]}:*")
    yield "logs:GetQueryResults", "*"
    yield "cloudwatch:GetMetricData", "*"


def permissions(
    questions: Questions,
    who: Caller | Unknown,
    demand: Demand,
    target: RunTarget,
    region: str | None,
    signed_to: ApiAddress | Absent | Unknown | None,
) -> Mapping[str, bool] | Unknown | None:
    """IAM action -> whether it is allowed wherever it is needed; None where nobody knows who asks."""
    if isinstance(who, Unknown):
        return None
    source = policy_source(who.arn)
    if source is None:
        return Unknown("iam:SimulatePrincipalPolicy", f"{who.arn} has no policies of its own to look at")
    iam = questions.client("iam")
    allowed: dict[str, bool] = {}
    for action, resource in needed(demand, target, who.account, region or "*", who.arn.split(":")[1], signed_to):
        found = questions.ask(
            "iam:SimulatePrincipalPolicy",
            lambda action=action, resource=resource: iam.simulate_principal_policy(  # type: ignore[misc]
                PolicySourceArn=source, ActionNames=[action], ResourceArns=[resource]
            ),
        )
        if isinstance(found, Absent):
            return Unknown("iam:SimulatePrincipalPolicy", f"IAM has no {source}")
        if isinstance(found, Unknown):
            return found
        may = all(result["EvalDecision"] == "allowed" for result in found["EvaluationResults"])
        allowed[action] = may and allowed.get(action, True)
    return allowed


def policy_source(arn: str) -> str | None:
    """The user or role whose policies decide for a caller; None for the root user and others that have none.

    An assumed role's ARN names the role without its path, so that a role with a path is not found by it.
    """
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return None
    kind, _, rest = parts[5].partition("/")
    if kind == "assumed-role":
        return f"{parts[0]}:{parts[1]}:iam::{parts[4]}:role/{rest.partition('/')[0]}"
    return f"{parts[0]}:{parts[1]}:iam::{parts[4]}:{kind}/{rest}" if kind in ("user", "role") and rest else None
