"""The Lambda service: admits invocations, runs the real handlers in modelled time, writes what Lambda writes.

An invocation is decided at its start (environment, init, duration, fault) and takes effect at its modelled end: there
the handler really runs, its log lines and the system's are appended, truth and metrics are counted, and the caller is
answered. An invocation that the model lets run into its timeout never runs its handler.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from typing import Literal

import orjson

from sandbox import embedded_metrics, log_lines
from sandbox.async_events import NAMESPACE, AsyncEvents
from sandbox.clock import Scheduler
from sandbox.code_package import CodePackage
from sandbox.definitions import Definitions, FunctionDefinition
from sandbox.faults import (
    CrashFunction,
    ExhaustMemory,
    FailFunction,
    FailInit,
    Faults,
    MalformResponse,
    RefuseCalls,
    SlowFunction,
)
from sandbox.identifiers import Identifiers, parse_trace_header
from sandbox.invocations import Ending, FunctionState, Invocation, VersionState
from sandbox.invoke_results import InvokeResult, OnDone, invalid_request_content, throttled, too_large
from sandbox.log_formats import ON_DEMAND, PROVISIONED, Failure, JsonFormat, Report, TextFormat
from sandbox.model.durations import duration_model
from sandbox.model.environments import (
    AccountConcurrency,
    Environment,
    EnvironmentPool,
    FunctionConcurrency,
)
from sandbox.model.parameters import Parameters
from sandbox.model.throttling import TokenBucket
from sandbox.provisioning import Allocation, Initialised, Provisioning
from sandbox.runtime import HandlerError, MakeClient, PythonRuntime, to_json
from sandbox.sinks import LogSink, MetricSink
from sandbox.truth import Truth

LOG_TAIL_BYTES = 4096
MALFORMED = b'{"message":"no proxy response: it has no statusCode"}'
"""What a handler returns that suffers the fault `malform`."""


class LambdaService:
    """Invocations of the functions that `definitions` knows.

    Callbacks (`on_done`) are called once, either from within the call (a refusal) or by the scheduler.
    """

    def __init__(
        self,
        definitions: Definitions,
        scheduler: Scheduler,
        parameters: Parameters,
        *,
        make_client: MakeClient,
        make_resource: MakeClient,
        logs: LogSink,
        metrics: MetricSink,
        truth: Truth,
        faults: Faults,
        seed: int = 1,
        ensure_log_group: Callable[[FunctionDefinition], None] = lambda function: None,
    ) -> None:
        """`ensure_log_group` is told of each function before it first writes to its log group: Lambda makes that."""
        self._definitions = definitions
        self._scheduler = scheduler
        self._parameters = parameters
        self._lambda = parameters.lambda_
        self._make_client = make_client
        self._make_resource = make_resource
        self._logs = logs
        self._metrics = metrics
        self._truth = truth
        self._faults = faults
        self._seed = seed
        self._ensure_log_group = ensure_log_group
        self._text_format = TextFormat(new_style=parameters.lambda_.failure_style == "new")
        self._packages: dict[str, CodePackage] = {}
        self._functions: dict[str, FunctionState] = {}
        self._provisioning = Provisioning(scheduler, self._lambda, self._initialise)
        self._async_events = AsyncEvents(
            definitions,
            scheduler,
            self._lambda,
            attempt=partial(self._attempt, synchronous=False, log_tail=False),
            metrics=metrics,
            truth=truth,
        )
        self.reset()

    def reset(self) -> None:
        """Forget every environment; what is provisioned is made anew. Invocations under way go on to their end."""
        self._provisioning.ask(())
        self._functions = {}
        self._provisioning = Provisioning(self._scheduler, self._lambda, self._initialise)
        self._generation = self._definitions.generation
        self._account = AccountConcurrency(self._lambda, self._definitions.reserved_concurrency_total())
        self._identifiers = Identifiers(random.Random(f"{self._seed}/identifiers"))
        self._trace_rng = random.Random(f"{self._seed}/traces")
        reservoir = self._lambda.trace_reservoir_per_s
        self._trace_reservoir = TokenBucket(reservoir, reservoir)
        self._runtime_hash = f"{random.Random('runtime').getrandbits(256):064x}"
        self.provision()

    def provision(self) -> None:
        """See that as many environments are provisioned as the definitions want now."""
        wanted = self._definitions.provisioned_concurrency()
        if not wanted and not self._provisioning.versions:
            return
        functions = [self._function(function) for function, _ in wanted]
        self._provisioning.ask(wanted)
        for state in {*functions, *self._functions.values()}:
            state.provisioned = self._provisioning.of_function(state.arn)
            state.concurrency.provisioned = sum(one.requested for one in state.provisioned.values())
        self._account.set_reserved(self._claimed())

    def allocation(self, function_arn: str, version: str) -> Allocation:
        """What there is of a version's provisioned concurrency."""
        return self._provisioning.allocation(function_arn, version)

    def _claimed(self) -> int:
        """What is taken out of the account's concurrency for particular functions."""
        unreserved = sum(s.concurrency.provisioned for s in self._functions.values() if s.concurrency.reserved is None)
        return self._definitions.reserved_concurrency_total() + unreserved

    def invoke(
        self,
        function: FunctionDefinition,
        payload: bytes,
        on_done: OnDone,
        *,
        trace_header: str | None = None,
        request_id: str | None = None,
        log_tail: bool = False,
    ) -> None:
        """A synchronous invocation (RequestResponse)."""
        request_id = request_id or self._identifiers.uuid()
        if len(payload) > self._lambda.payload_max_bytes:
            limit = self._lambda.payload_max_bytes
            return on_done(too_large(len(payload), limit, request_id, "RequestResponse"))
        return self._attempt(function, payload, request_id, trace_header, on_done, synchronous=True, log_tail=log_tail)

    def invoke_async(
        self,
        function: FunctionDefinition,
        payload: bytes,
        *,
        trace_header: str | None = None,
        request_id: str | None = None,
        on_settled: OnDone | None = None,
    ) -> str:
        """Queue an event (invocation type Event); its request id.

        A function error is tried again after each of `async_retry_waits_s`, a throttle with growing waits until the
        event is too old; `on_settled` gets the result of the last attempt.
        """
        request_id = request_id or self._identifiers.uuid()
        self._async_events.accept(function, payload, request_id, trace_header, on_settled)
        return request_id

    def new_request_id(self) -> str:
        return self._identifiers.uuid()

    # one invocation ----------------------------------------------------------------------------------------------

    def _attempt(
        self,
        function: FunctionDefinition,
        payload: bytes,
        request_id: str,
        trace_header: str | None,
        on_done: OnDone,
        *,
        synchronous: bool,
        log_tail: bool,
    ) -> None:
        try:
            event = orjson.loads(payload) if payload else {}
        except orjson.JSONDecodeError as error:
            return on_done(invalid_request_content(error, request_id))
        self._scheduler.catch_up()  # what has ended by now is free
        now = self._scheduler.now()
        state = self._function(function)
        refused = self._faults.admission(state.logical_name, request_id, event)
        provisioned = state.provisioned.get(function.version) if state.provisioned else None
        environment = None
        if provisioned is not None and refused is None:
            environment = provisioned.take(now, synchronous=synchronous)
        serves_ahead, is_new = environment is not None, False
        if environment is None:
            reason = refused.reason if refused else state.concurrency.refusal(now, synchronous=synchronous)
            if reason is not None:
                return on_done(self._throttled(state, request_id, now, reason))
        version = self._version(state, function)
        if environment is None:
            environment = version.pool.take(now)
            is_new = environment is None
        if environment is None:
            if not state.concurrency.may_grow(now):
                return on_done(self._throttled(state, request_id, now, "ConcurrentInvocationLimitExceeded"))
            environment = self._new_environment(state, version, now)

        run = Invocation()
        run.state, run.version, run.environment = state, version, environment
        run.provisioned = provisioned if serves_ahead else None
        run.spilled = provisioned is not None and not serves_ahead and provisioned.available > 0
        run.payload, run.event, run.request_id = payload, event, request_id
        run.log_tail, run.on_done = log_tail, on_done
        run.xray, run.trace_header = self._trace(function, trace_header, now)
        run.init_ms, run.restore_ms, run.slow_init_ms, run.error = None, None, None, None
        run.lines, run.started_at = [], now
        if is_new and function.snap_start:
            self._restore(run, now)
        elif is_new:
            self._init(run, now)
        if serves_ahead:
            state.concurrency.start_provisioned()
            if environment.calls == 0:
                state.truth.provisioned_starts += 1
        else:
            state.concurrency.start()
        self._decide(run)
        self._truth.pending += 1
        self._scheduler.at(run.started_at + run.duration_ms / 1000, partial(self._finish, run))
        return None

    def _init(self, run: Invocation, now: float) -> None:
        """The init phase of a new environment: its module is really imported."""
        parameters, environment = self._lambda, run.environment
        requested_at = now
        if parameters.proactive_init_share and run.state.rng.random() < parameters.proactive_init_share:
            now -= parameters.proactive_init_lead_s
        slowed = self._faults.init(run.state.logical_name, run.request_id)
        init_ms = round(run.version.durations.init_ms(run.state.rng) if slowed is None else slowed.init_ms, 2)
        run.slow_init_ms = None if slowed is None else slowed.init_ms
        error = environment.runtime.init()
        written = environment.runtime.drain()
        started_at = now + init_ms / 1000
        log_format, function = run.version.log_format, run.version.function
        run.lines = [(now, log_format.init_start(now, function, parameters.runtime_version, self._runtime_hash))]
        run.lines += [(started_at, line) for line in written]
        status, error_type = None, None
        if error is not None:
            if not error.exited:
                event = log_format.error(started_at, "", error.type, error.message, error.stack_trace)
                run.lines.append((started_at, event))
            status, error_type = "error", error.type
        elif init_ms > parameters.init_timeout_s * 1000:
            init_ms = parameters.init_timeout_s * 1000
            started_at, status = now + parameters.init_timeout_s, "timeout"
        if status is None:
            run.init_ms = init_ms
        else:
            report = log_format.init_report(started_at, init_ms, "init", status, error_type)
            run.lines.append((started_at, report))
            environment.init_due = True
        run.started_at = max(started_at, requested_at)

    def _restore(self, run: Invocation, now: float) -> None:
        """A new environment from the snapshot that was taken when the version was published. What its module wrote was
        written then; here it is imported anew, so that environments share nothing that was drawn in it."""
        environment, rng, spread = run.environment, run.state.rng, self._lambda.init_jitter
        slowed = self._faults.init(run.state.logical_name, run.request_id)
        restore_ms = self._lambda.restore_ms * (1 + spread * (2 * rng.random() - 1))
        run.restore_ms = round(restore_ms if slowed is None else slowed.init_ms, 2)
        environment.init_due = environment.runtime.init() is not None
        environment.runtime.drain()
        run.started_at = now + run.restore_ms / 1000
        log_format, function = run.version.log_format, run.version.function
        run.lines = [
            (now, log_format.restore_start(now, function, self._lambda.runtime_version, self._runtime_hash)),
            (run.started_at, log_format.restore_report(run.started_at, run.restore_ms)),
        ]

    def _decide(self, run: Invocation) -> None:
        """How long the invocation takes, and whether it will fail before its handler runs."""
        environment, rng, durations = run.environment, run.state.rng, run.version.durations
        duration_ms = 0.0
        fault = run.fault = self._faults.run(run.state.logical_name, run.request_id, run.event)
        if environment.init_due or isinstance(fault, FailInit):
            run.state.truth.suppressed_inits += 1
            duration_ms = run.slow_init_ms or durations.init_ms(rng)
            environment.init_due = False
            environment.calls = 0
            run.error = environment.runtime.init()
            run.lines += [(run.started_at, line) for line in environment.runtime.drain()]
            if isinstance(fault, FailInit):
                run.error = HandlerError(fault.error_type, fault.error_message)
        if run.error is None:
            duration_ms += durations.duration_ms(rng, first_call=environment.calls == 0)
        environment.calls += 1
        if isinstance(fault, SlowFunction):
            duration_ms += fault.delay_ms
        timeout_ms = run.version.function.timeout_s * 1000
        run.timed_out = duration_ms >= timeout_ms
        run.duration_ms = timeout_ms if run.timed_out else round(duration_ms, 2)

    def _finish(self, run: Invocation) -> None:
        """The end of an invocation: the handler runs now, and everything takes effect."""
        state, function, environment = run.state, run.version.function, run.environment
        ended_at = run.started_at + run.duration_ms / 1000
        memory_mb = environment.use_memory(state.rng)
        outcome = self._outcome(run, ended_at)
        ending = self._failed(run, outcome) if isinstance(outcome, HandlerError) else Ending(outcome)
        billed_ms = math.ceil(round(run.duration_ms + (run.init_ms or 0.0), 2))
        billed_restore_ms = None
        if run.restore_ms is not None:
            billed_restore_ms = min(self._lambda.billed_restore_ms, math.ceil(run.restore_ms))
            billed_ms += billed_restore_ms
        report = Report(
            run.request_id,
            run.duration_ms,
            billed_ms,
            function.memory_mb,
            ending.memory_mb or memory_mb,
            run.init_ms,
            run.restore_ms,
            billed_restore_ms,
            run.xray,
            function.timeout_s,
            ending.failure,
            ON_DEMAND if run.provisioned is None else PROVISIONED,
        )
        lines, log_format = run.lines, run.version.log_format
        lines.append((run.started_at, log_format.start(run.started_at, report, function.version)))
        lines += [(ended_at, line) for line in environment.runtime.drain()]
        lines += [(ended_at, line) for line in log_format.ended(ended_at, report)]
        self._write(function.log_group, environment.log_stream, lines)
        self._count(run, ending, billed_ms)
        if run.provisioned is None:
            state.concurrency.end()
            run.version.pool.give_back(environment, self._scheduler.now())
        else:
            state.concurrency.end_provisioned()
            run.provisioned.give_back(environment, self._scheduler.now())
        self._truth.pending -= 1
        run.on_done(
            InvokeResult(
                status=200,
                payload=ending.payload,
                function_error=None if ending.failure is None else "Unhandled",
                executed_version=function.version,
                request_id=run.request_id,
                log_tail=_log_tail(lines) if run.log_tail else None,
            )
        )

    def _write(self, group: str, stream: str, lines: list[tuple[float, str]]) -> None:
        append = self._logs.append
        for at, line in lines:
            append(group, stream, at, line)
            if embedded_metrics.MARK in line:
                for value in embedded_metrics.metric_values(line):
                    self._metrics.add(*value)

    def _failed(self, run: Invocation, error: HandlerError) -> Ending:
        """How a failure shows: in the answer, in the log, in REPORT."""
        environment, request_id = run.environment, run.request_id
        if run.timed_out:
            environment.init_due = True
            named = {"errorType": error.type} if error.type else {}
            payload = to_json(named | {"errorMessage": error.message})
            return Ending(payload, Failure("timeout", error.type, error.message))
        if error.exited:  # the runtime is gone; the environment will start it again
            environment.init_due = True
            message = f"RequestId: {request_id} Error: {error.message}"
            payload = to_json({"errorType": error.type, "errorMessage": message})
            memory_mb = run.version.function.memory_mb if isinstance(run.fault, ExhaustMemory) else None
            return Ending(payload, Failure("exit", error.type, error.message), memory_mb)
        if run.error is not None:  # the repeated init failed: not the handler but the environment
            environment.init_due = True
        how: Literal["init", "exception"] = "exception" if run.error is None else "init"
        return Ending(error.payload(request_id), Failure(how, error.type, error.message, error.stack_trace))

    def _outcome(self, run: Invocation, ended_at: float) -> bytes | HandlerError:
        """What comes of the invocation: the handler's result, or how it failed."""
        fault, new_style = run.fault, run.version.log_format.new_style
        if run.timed_out:
            message = f"Task timed out after {run.version.function.timeout_s:.2f} seconds"
            if new_style:
                return HandlerError("Sandbox.Timedout", f"RequestId: {run.request_id} Error: {message}")
            return HandlerError("", f"{log_lines.iso_millis(ended_at)} {run.request_id} {message}")
        outcome: bytes | HandlerError
        if isinstance(fault, CrashFunction):
            outcome = HandlerError("Runtime.ExitError", "Runtime exited with error: exit status 1", exited=True)
        elif isinstance(fault, ExhaustMemory):
            error_type = "Runtime.OutOfMemory" if new_style else "Runtime.ExitError"
            outcome = HandlerError(error_type, "Runtime exited with error: signal: killed", exited=True)
        elif run.error is not None:
            outcome = run.error
        elif isinstance(fault, FailFunction):
            outcome = HandlerError(fault.error_type, fault.error_message, run.environment.runtime.handler_frame())
        else:
            deadline = run.started_at + run.version.function.timeout_s
            self._faults.refused_calls = fault if isinstance(fault, RefuseCalls) else None
            outcome = run.environment.runtime.run(run.event, run.request_id, deadline, run.trace_header)
            self._faults.refused_calls = None
            if isinstance(fault, MalformResponse) and isinstance(outcome, bytes):
                outcome = MALFORMED
        if isinstance(outcome, bytes) and len(outcome) > self._lambda.payload_max_bytes:
            limit = self._lambda.payload_max_bytes
            message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
            return HandlerError("Function.ResponseSizeTooLarge", message)
        return outcome

    def _count(self, run: Invocation, ending: Ending, billed_ms: int) -> None:
        state, truth, at, add = run.state, run.state.truth, run.started_at, self._metrics.add
        failure = ending.failure
        truth.invocations += 1
        truth.billed_ms += billed_ms
        if run.init_ms is not None or run.restore_ms is not None:
            truth.cold_starts += 1
        if failure is not None:
            truth.errors += 1
            if run.timed_out:
                truth.timeouts += 1
        else:
            chain = self._truth.chain_by_last.get(state.logical_name)
            if chain is not None:
                chain.succeeded(run.payload, ending.payload)
        dimensions, concurrency, account = state.dimensions, state.concurrency, self._account
        busy = concurrency.busy + concurrency.provisioned_busy
        add(NAMESPACE, "Invocations", dimensions, at, 1.0)
        add(NAMESPACE, "Errors", dimensions, at, 0.0 if failure is None else 1.0)
        add(NAMESPACE, "Throttles", dimensions, at, 0.0)
        add(NAMESPACE, "Duration", dimensions, at, run.duration_ms)
        add(NAMESPACE, "ConcurrentExecutions", dimensions, at, float(busy))
        everywhere = account.busy + account.reserved_busy + account.provisioned_busy
        add(NAMESPACE, "ConcurrentExecutions", (), at, float(everywhere))
        add(NAMESPACE, "UnreservedConcurrentExecutions", (), at, float(account.busy))
        if run.provisioned is not None:
            used = run.provisioned
            add(NAMESPACE, "ProvisionedConcurrencyInvocations", dimensions, at, 1.0)
            add(NAMESPACE, "ProvisionedConcurrentExecutions", dimensions, at, float(used.busy))
            add(NAMESPACE, "ProvisionedConcurrencyUtilization", dimensions, at, used.busy / max(used.allocated, 1))
        elif run.spilled:
            add(NAMESPACE, "ProvisionedConcurrencySpilloverInvocations", dimensions, at, 1.0)

    def _throttled(self, state: FunctionState, request_id: str, now: float, reason: str) -> InvokeResult:
        state.truth.throttles += 1
        self._metrics.add(NAMESPACE, "Throttles", state.dimensions, now, 1.0)
        return throttled(reason, self._lambda.retry_after_s, request_id)

    # functions and environments ----------------------------------------------------------------------------------

    def _function(self, function: FunctionDefinition) -> FunctionState:
        if self._definitions.generation != self._generation:
            self._generation = self._definitions.generation
            self._account.set_reserved(self._claimed())
        state = self._functions.get(function.name)
        if state is None:
            logical_name = self._definitions.logical_name(function.name)
            concurrency = FunctionConcurrency(self._lambda, self._account, function.reserved_concurrency)
            truth = self._truth.function(logical_name)
            state = FunctionState(logical_name, function, concurrency, truth, self._seed)
            self._functions[function.name] = state
        elif state.concurrency.reserved != function.reserved_concurrency:
            state.concurrency.set_reserved(function.reserved_concurrency)
        return state

    def _version(self, state: FunctionState, function: FunctionDefinition) -> VersionState:
        """The version's environments. After a change of code or configuration it starts without any."""
        version = state.versions.get(function.version)
        if version is None or version.function is not function:
            if version is not None and _same_environment(version.function, function):
                version.function = function
                return version
            parameters = self._lambda
            self._ensure_log_group(function)
            version = VersionState(
                function,
                self._package(function),
                duration_model(self._parameters.timing(state.logical_name), function.memory_mb, parameters),
                EnvironmentPool(parameters.idle_expiry_s, parameters.environment_lifetime_s),
                JsonFormat() if function.log_format == "JSON" else self._text_format,
            )
            state.versions[function.version] = version
        return version

    def _package(self, function: FunctionDefinition) -> CodePackage:
        package = self._packages.get(function.code_sha256)
        if package is None:
            package = self._packages[function.code_sha256] = CodePackage(function.code_zip)
        return package

    def _initialise(self, function: FunctionDefinition) -> Initialised:
        """Begin the init of a provisioned environment, which no invocation waits for; its log lines are written."""
        state = self._function(function)
        version, now = self._version(state, function), self._scheduler.now()
        environment = self._new_environment(state, version, now, PROVISIONED)
        stream, log_format = environment.log_stream, version.log_format
        slowed = self._faults.init(state.logical_name, stream)
        init_ms = round(version.durations.init_ms(state.rng) if slowed is None else slowed.init_ms, 2)
        limit_ms = max(self._lambda.provisioned_init_timeout_s, function.timeout_s) * 1000
        error = environment.runtime.init()
        status, error_type = ("success", None) if error is None else ("error", error.type)
        if error is None and init_ms > limit_ms:
            init_ms, status = limit_ms, "timeout"
        ends_at = now + init_ms / 1000
        start = log_format.init_start(now, function, self._lambda.runtime_version, self._runtime_hash, PROVISIONED)
        lines = [(now, start), *((ends_at, line) for line in environment.runtime.drain())]
        if error is not None and not error.exited:
            lines.append((ends_at, log_format.error(ends_at, "", error.type, error.message, error.stack_trace)))
        lines.append((ends_at, log_format.init_report(ends_at, init_ms, "init", status, error_type, PROVISIONED)))
        group = function.log_group
        self._write(group, stream, lines[:1])
        # the rest when it happens: a log event is not read before its time
        self._scheduler.at(ends_at, partial(self._write, group, stream, lines[1:]))
        return Initialised(environment, ends_at, status == "success")

    def _new_environment(
        self, state: FunctionState, version: VersionState, now: float, initialization_type: str = ON_DEMAND
    ) -> Environment:
        function = version.function
        least_mb, greatest_mb = self._parameters.timing(state.logical_name).memory_used_mb
        stream = log_lines.log_stream(now, function.version, self._identifiers.hex32())
        environment = Environment(now, stream, state.rng.randint(least_mb, greatest_mb), greatest_mb)
        environment.runtime = PythonRuntime(
            version.package,
            function,
            stream,
            self._make_client,
            self._make_resource,
            self._scheduler.now,
            version.log_format,
            initialization_type,
        )
        return environment

    def _trace(
        self, function: FunctionDefinition, header: str | None, now: float
    ) -> tuple[tuple[str, str, bool] | None, str | None]:
        """(what REPORT shows, what the handler sees). A function without active tracing only passes the header on."""
        if not function.tracing_active:
            return None, header
        root, sampled = parse_trace_header(header)
        if sampled is None:
            sampled = self._trace_reservoir.take(now) or self._trace_rng.random() < self._lambda.trace_rate
        if not sampled:
            return None, header
        root = root or self._identifiers.trace_root(now)
        segment_id = self._identifiers.hex16()
        return (root, segment_id, True), f"Root={root};Parent={segment_id};Sampled=1"


def _same_environment(one: FunctionDefinition, other: FunctionDefinition) -> bool:
    """Whether running environments of the one serve the other as well."""
    return (
        one.code_sha256 == other.code_sha256
        and one.memory_mb == other.memory_mb
        and one.handler == other.handler
        and one.timeout_s == other.timeout_s
        and one.log_group == other.log_group
        and one.log_format == other.log_format
        and dict(one.environment) == dict(other.environment)
    )


def _log_tail(lines: list[tuple[float, str]]) -> bytes:
    return "".join(line for _, line in lines).encode("utf-8")[-LOG_TAIL_BYTES:]
