"""Whether the functions are there and set up for the run. Pure: facts -> rows.

Figures from AWS documentation: API Gateway waits 29 s (REST API quotas); an asynchronous event that fails is tried
twice more and then lost, unless there is a dead-letter queue or a destination (Lambda, asynchronous invocation);
SystemLogLevel=WARN writes the reports of failures only (Lambda, log levels); Logs Insights discovers no fields in log
groups of the class Infrequent Access (CloudWatch Logs).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from analysis.advice import GATEWAY_WAIT_S, MEMORY_HEADROOM, TIMEOUT_HEADROOM
from config.profiles import Profile
from control.preflight.demand import ASYNCHRONOUS, BEHIND_API, DIRECT, OF_QUEUE, OF_STREAM, Demand
from control.preflight.facts import Absent, Facts, Function, LogGroup, Measured, Queue, Source, Unknown, called
from control.preflight.rows import FAIL, PASS, WARN, Row, not_asked

CLIENT_WAIT_S = 32.0
"""What the load generator waits for the first byte of an answer (`loadgen.transport.Timeouts`)."""
_BELOW_INFO = ("WARN", "ERROR", "FATAL")


def existence(logical: str, found: Function | Absent | Unknown, qualifier: str | None) -> Row:
    """The function, with the qualifier that is called, is there."""
    subject = called(logical, qualifier)
    if isinstance(found, Unknown):
        return not_asked("function", subject, found)
    if isinstance(found, Absent):
        return Row(
            "function",
            subject,
            FAIL,
            "the target has no such function, version or alias",
            "look at its variable, QUALIFIER and STACK_NAME; `make deploy` makes the sample functions",
        )
    return Row("function", subject, PASS, f"{found.name}, {found.architecture}")


def timeout(logical: str, function: Function, trigger: str, profile: Profile, measured: Measured | None) -> Row:
    """The time limit against who waits for the function, against the profile's own limits, and against what it took
    before."""
    limit, subject = f"{function.timeout_s:g} s", called(logical, function.qualifier)
    worst_ms = (measured.max_ms if measured else {}).get(logical)
    if worst_ms is not None and worst_ms >= 1000 * function.timeout_s / TIMEOUT_HEADROOM:
        return Row(
            "timeout",
            subject,
            WARN,
            f"{limit}, and an invocation took {worst_ms / 1000:.1f} s in run {measured.run_id if measured else ''}",
            f"raise it to {TIMEOUT_HEADROOM:g} times that, or expect timeouts under more load",
        )
    if trigger == BEHIND_API and function.timeout_s > GATEWAY_WAIT_S:
        return Row(
            "timeout",
            subject,
            WARN,
            f"{limit}, and API Gateway answers 504 after {GATEWAY_WAIT_S} s",
            "lower it: what goes on behind a 504 is billed and helps nobody",
        )
    if trigger == DIRECT and function.timeout_s > CLIENT_WAIT_S:
        return Row(
            "timeout",
            subject,
            WARN,
            f"{limit}, and the load generator waits {CLIENT_WAIT_S:g} s for an answer",
            "slower invocations count as failed requests; invoke it asynchronously (INVOCATION_TYPE=Event)",
        )
    if trigger in (ASYNCHRONOUS, OF_QUEUE) and function.timeout_s > profile.chain_limit_s:
        return Row(
            "timeout",
            subject,
            WARN,
            f"{limit}, and the profile calls a message late after {profile.chain_limit_s:g} s",
            "raise the profile's chain_limit, or lower the timeout",
        )
    if trigger in (BEHIND_API, DIRECT) and profile.response_limit_s is not None:
        limit += f"; the profile fails answers that take {profile.response_limit_s:g} s"
    return Row("timeout", subject, PASS, limit)


def memory(logical: str, function: Function, measured: Measured | None) -> Row:
    """The memory configured against what was used before."""
    subject = called(logical, function.qualifier)
    used_mb = (measured.max_memory_mb if measured else {}).get(logical)
    if used_mb is None:
        return Row("memory", subject, PASS, f"{function.memory_mb} MB, nothing measured yet")
    said = f"{used_mb:.0f} of {function.memory_mb} MB used before"
    if used_mb >= function.memory_mb:
        return Row("memory", subject, FAIL, said, "it runs out of memory: raise it")
    if used_mb * MEMORY_HEADROOM > function.memory_mb:
        return Row("memory", subject, WARN, said, "raise it: little is left under more load")
    return Row("memory", subject, PASS, said)


def tracing(logical: str, function: Function, sampled_share: float) -> Row:
    """Whether X-Ray's part of the log can be expected."""
    subject = called(logical, function.qualifier)
    if function.tracing == "Active" or not sampled_share:
        return Row("tracing", subject, PASS, f"{function.tracing}, {sampled_share:.0%} of requests marked as sampled")
    return Row(
        "tracing",
        subject,
        WARN,
        f"{function.tracing}: requests marked as sampled leave no trace of the function",
        "set TracingConfig to Active, or TRACE_SAMPLE=0; joins by trace id need it",
    )


def log_group(logical: str, group: LogGroup | Absent | Unknown) -> Row:
    """The log group is there, can be queried, and is not kept for ever."""
    if isinstance(group, Unknown):
        return not_asked("log group", logical, group)
    if isinstance(group, Absent):
        return Row(
            "log group",
            logical,
            WARN,
            "there is none yet",
            "Lambda makes it with the first log line, if the function's role may; or look at LOG_GROUPS",
        )
    if group.log_class != "STANDARD":
        return Row(
            "log group",
            logical,
            FAIL,
            f"its class is {group.log_class}",
            "Logs Insights finds no fields in it: the class cannot be changed, make a new group",
        )
    if group.retention_days is None:
        return Row(
            "log group",
            logical,
            WARN,
            "events are kept for ever",
            "set a retention: a load test writes much that nobody reads again",
        )
    return Row("log group", logical, PASS, f"kept {group.retention_days} days")


def log_format(logical: str, function: Function, expected_group: str | None) -> Row:
    """What the function writes is what the analysis reads. `expected_group`: where it will look."""
    said, subject = function.log_format, called(logical, function.qualifier)
    if function.system_log_level:
        said += f", system {function.system_log_level}"
    if function.application_log_level:
        said += f", application {function.application_log_level}"
    if expected_group is not None and function.log_group != expected_group:
        return Row(
            "log format",
            subject,
            FAIL,
            f"it logs to {function.log_group}, and the analysis looks into {expected_group}",
            f"set LOG_GROUPS to {function.log_group}",
        )
    if function.system_log_level in _BELOW_INFO:
        return Row(
            "log format",
            subject,
            FAIL,
            said,
            "set SystemLogLevel to INFO: now only failed invocations leave a report, and every statistic is wrong",
        )
    if function.application_log_level in _BELOW_INFO:
        return Row(
            "log format",
            subject,
            WARN,
            said,
            "set ApplicationLogLevel to INFO, where the correlation line is; without it fewer requests are joined",
        )
    return Row("log format", subject, PASS, said)


def lost_events(
    logical: str, function: Function, trigger: str, sources: Iterable[Source], queue: Queue | Absent | Unknown | None
) -> Row | None:
    """Whether what fails for good is kept somewhere; None for functions whose caller gets the error."""
    check, subject = "dead letters", called(logical, function.qualifier)
    if trigger == ASYNCHRONOUS:
        if isinstance(function.on_failure, Unknown) and function.dead_letter is None:
            return not_asked(check, subject, function.on_failure)
        kept = function.dead_letter or (None if isinstance(function.on_failure, Unknown) else function.on_failure)
        if kept is not None:
            return Row(check, subject, PASS, f"to {_plain(kept)}")
        return Row(
            check,
            subject,
            WARN,
            "none: an event that fails three times is gone",
            "give the function a dead-letter queue or an on-failure destination; the analysis counts such messages as "
            "lost either way",
        )
    if trigger == OF_STREAM:
        of_streams = [source for source in sources if source.function == logical and source.kind != "sqs"]
        if not of_streams:
            return Row(check, subject, WARN, "no stream feeds it", "look at its event source mappings")
        if stopped := [source.name for source in of_streams if source.state not in ("Enabled", "Enabling")]:
            return Row(check, subject, FAIL, f"the mapping of {', '.join(stopped)} is not enabled", "enable it")
        if all(source.on_failure for source in of_streams):
            return Row(check, subject, PASS, f"to {_plain(str(of_streams[0].on_failure))}")
        return Row(
            check,
            subject,
            WARN,
            "none: a batch that fails holds its shard up, and is gone when it expires",
            "give the mapping an on-failure destination and a number of attempts",
        )
    if trigger == OF_QUEUE:
        if isinstance(queue, Unknown):
            return not_asked(check, subject, queue)
        if not isinstance(queue, Queue):
            return None
        if function.timeout_s > queue.visibility_timeout_s:
            return Row(
                check,
                subject,
                FAIL,
                f"its timeout of {function.timeout_s:g} s is above the queue's visibility timeout of "
                f"{queue.visibility_timeout_s:g} s",
                "raise the visibility timeout, to six times the function's: messages come twice otherwise",
            )
        if queue.dead_letter:
            return Row(check, subject, PASS, "the queue has a dead-letter queue")
        return Row(
            check,
            subject,
            WARN,
            "none: a message that fails comes back until it expires",
            "give the queue a redrive policy",
        )
    return None


def rows(
    demand: Demand,
    facts: Facts,
    profile: Profile,
    expected_groups: Mapping[str, str],
    measured: Measured | None,
    sampled_share: float,
) -> list[Row]:
    """All rows about functions; none where nothing was asked. `expected_groups`: logical name -> log group that the
    analysis will look into."""
    if not facts.asked:
        return []
    found: list[Row] = []
    for logical, trigger in demand.triggers.items():
        qualified = facts.functions.get(logical)
        if qualified is None:
            found.append(
                Row("function", logical, WARN, "nothing names it", "set its variable, or deploy the sample stack")
            )
            continue
        found += [existence(logical, one, qualifier) for qualifier, one in qualified.items()]
        for function in facts.there(logical):
            found.append(timeout(logical, function, trigger, profile, measured))
            found.append(memory(logical, function, measured))
            found.append(tracing(logical, function, sampled_share))
            found.append(log_format(logical, function, expected_groups.get(logical)))
            letters = lost_events(logical, function, trigger, facts.sources, facts.queue)
            if letters is not None:
                found.append(letters)
    return found + [log_group(logical, group) for logical, group in facts.log_groups.items()]


def _plain(arn: str) -> str:
    return arn.rpartition(":")[2]
