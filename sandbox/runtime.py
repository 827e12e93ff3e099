"""Running a function's real code, as Lambda's Python runtime does.

A deployment package is compiled once per content; each execution environment executes it anew, so that module-level
state lives exactly as long as an environment. While user code runs, `os.environ` holds the function's variables,
standard output and the root logger write log events, and `boto3` is a stand-in that hands out the sandbox's own
clients. Everything happens in one thread and one process, synchronously: this runs trusted code (the sample
applications, the user's own functions), it is no security boundary.

Errors take the form of the Python runtime interface client (awslambdaric/bootstrap.py).
"""

from __future__ import annotations

import builtins
import inspect
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3

from sandbox.code_package import TASK_ROOT, CodeError, CodePackage, format_stack
from sandbox.definitions import ACCOUNT_ID, FunctionDefinition
from sandbox.log_formats import ON_DEMAND, LogFormat

MakeClient = Callable[[str, FunctionDefinition], Any]
"""(service name, function) -> what `boto3.client(service)`, or `.resource`, gives inside that function."""


@dataclass(frozen=True)
class HandlerError:
    """Why a handler or an init failed, as the runtime reports it."""

    type: str
    message: str
    stack_trace: Sequence[str] = ()
    exited: bool = False
    """The runtime process itself ended (`sys.exit`)."""

    def payload(self, request_id: str) -> bytes:
        """The function error's payload."""
        error = {
            "errorMessage": self.message,
            "errorType": self.type,
            "requestId": request_id,
            "stackTrace": list(self.stack_trace),
        }
        return _ENCODER.encode(error).encode("utf-8", "replace")


class LambdaContext:
    """The handler's second argument."""

    __slots__ = (
        "_deadline",
        "_now",
        "aws_request_id",
        "client_context",
        "function_name",
        "function_version",
        "identity",
        "invoked_function_arn",
        "log_group_name",
        "log_stream_name",
        "memory_limit_in_mb",
    )

    def __init__(
        self, function: FunctionDefinition, request_id: str, log_stream: str, deadline: float, now: Callable[[], float]
    ) -> None:
        self.aws_request_id = request_id
        self.function_name = function.name
        self.function_version = function.version
        self.invoked_function_arn = function.arn
        self.memory_limit_in_mb = str(function.memory_mb)
        self.log_group_name = function.log_group
        self.log_stream_name = log_stream
        self.client_context = None
        self.identity = None
        self._deadline = deadline
        self._now = now

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - self._now()) * 1000))


class _LineCapture(io.TextIOBase):
    """Standard output as Lambda sees it: each line is an event."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._partial = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text == "\n":  # the second write of every print()
            self.lines.append(self._partial + "\n")
            self._partial = ""
        elif "\n" not in text:
            self._partial += text
        else:
            *whole, self._partial = (self._partial + text).split("\n")
            self.lines.extend(line + "\n" for line in whole)
        return len(text)

    def drain(self) -> list[str]:
        """The events so far, an unfinished line included."""
        if self._partial:
            self.lines.append(self._partial)
            self._partial = ""
        lines, self.lines = self.lines, []
        return lines


class _LambdaLogHandler(logging.Handler):
    def __init__(self, capture: _LineCapture, log_format: LogFormat) -> None:
        super().__init__()
        self._capture = capture
        self._log_format = log_format
        self.request_id = ""

    def emit(self, record: logging.LogRecord) -> None:
        message, write = self.format(record), self._log_format.logged
        self._capture.lines.append(write(record.created, self.request_id, record.levelname, record.name, message))


class PythonRuntime:
    """One execution environment's interpreter state.

    `init` loads the handler's module (again, when called again); `run` calls the handler; `drain` gives the log
    events written since the last time.
    """

    def __init__(
        self,
        package: CodePackage,
        function: FunctionDefinition,
        log_stream: str,
        make_client: MakeClient,
        make_resource: MakeClient,
        now: Callable[[], float],
        log_format: LogFormat,
        initialization_type: str = ON_DEMAND,
    ) -> None:
        self._package = package
        self._function = function
        self._log_stream = log_stream
        self._now = now
        self._environ = _environ(function, log_stream, initialization_type)
        self._boto3 = _boto3_stand_in(function, make_client, make_resource)
        self._stdout = _LineCapture()
        self._log_handler = _LambdaLogHandler(self._stdout, log_format)
        self._root_level = log_format.level
        self._modules: dict[str, ModuleType] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}
        self._handler: Callable[[Any, LambdaContext], Any] | None = None
        self._process = _Inside(self)

    def init(self) -> HandlerError | None:
        """Import the handler's module and find the handler. What went wrong, or None."""
        self._modules.clear()
        self._handler = None
        module_name, dot, function_name = self._function.handler.rpartition(".")
        if not dot:
            message = f"Bad handler '{self._function.handler}': not enough values to unpack (expected 2, got 1)"
            return HandlerError("Runtime.MalformedHandlerName", message)
        module_name = module_name.replace("/", ".")
        with self._inside("", None):
            try:
                if not self._package.holds(module_name):
                    raise ModuleNotFoundError(f"No module named '{module_name}'")
                module = self._load(module_name)
                self._handler = getattr(module, function_name, None)
            except CodeError as error:
                syntax = error.error
                trace = f'  File "{syntax.filename}" Line {syntax.lineno}\n    {(syntax.text or "").rstrip()}'
                message = f"Syntax error in module '{module_name}': {syntax}"
                return HandlerError("Runtime.UserCodeSyntaxError", message, (trace,))
            except ImportError as error:
                return HandlerError("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}")
            except Exception as error:  # noqa: BLE001 user code: whatever it raises is its result
                return self._error(error)
            except BaseException:  # noqa: BLE001 SystemExit and its like end the runtime process
                return HandlerError("Runtime.ExitError", "Runtime exited without providing a reason", exited=True)
        if self._handler is None:
            message = f"Handler '{function_name}' missing on module '{module_name}'"
            return HandlerError("Runtime.HandlerNotFound", message)
        return None

    def run(
        self, event: Any, request_id: str, deadline: float, trace_header: str | None = None
    ) -> bytes | HandlerError:
        """Call the handler; its result as JSON, or why it failed. `init` must have succeeded."""
        assert self._handler is not None
        context = LambdaContext(self._function, request_id, self._log_stream, deadline, self._now)
        with self._inside(request_id, trace_header):
            try:
                result = self._handler(event, context)
            except Exception as error:  # noqa: BLE001 user code: whatever it raises is its result
                return self._error(error)
            except BaseException:  # noqa: BLE001 SystemExit and its like end the runtime process
                return HandlerError("Runtime.ExitError", "Runtime exited without providing a reason", exited=True)
        try:
            return to_json(result)
        except (TypeError, ValueError, RecursionError) as error:
            return HandlerError("Runtime.MarshalError", f"Unable to marshal response: {error}")

    def handler_frame(self) -> Sequence[str]:
        """A stack trace that ends in the first line of the handler under its decorators, for an exception that is put
        there."""
        code = getattr(None if self._handler is None else inspect.unwrap(self._handler), "__code__", None)
        if code is None:
            return ()
        text = self._package.line(code.co_filename, code.co_firstlineno)
        return (f'  File "{code.co_filename}", line {code.co_firstlineno}, in {code.co_name}\n    {text}\n',)

    def drain(self) -> list[str]:
        """The log events written since the last call."""
        return self._stdout.drain()

    def _inside(self, request_id: str, trace_header: str | None) -> _Inside:
        if trace_header is not None:
            self._environ["_X_AMZN_TRACE_ID"] = trace_header
        self._log_handler.request_id = request_id
        return self._process

    def _error(self, error: Exception) -> HandlerError:
        try:
            message = str(error)
        except Exception:  # noqa: BLE001 also the text of an exception is user code
            message = "<exception str() failed>"
        return HandlerError(type(error).__name__, message, format_stack(error.__traceback__, self._package))

    def _load(self, name: str) -> ModuleType:
        loaded = self._modules.get(name)
        if loaded is not None:
            return loaded
        parent, _, child = name.rpartition(".")
        if parent:
            self._load(parent)
        source = self._package.sources.get(name)
        if source is None and not self._package.holds(name):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        module = ModuleType(name)
        module.__dict__["__builtins__"] = self._builtins
        is_package = source is None or source.is_package
        module.__package__ = name if is_package else parent
        if is_package:
            module.__path__ = [f"{TASK_ROOT}/{name.replace('.', '/')}"]
        if source is not None:
            module.__file__ = source.path
        self._modules[name] = module
        if source is not None:
            try:
                exec(source.code(), module.__dict__)
            except BaseException:
                del self._modules[name]
                raise
        if parent:
            setattr(self._modules[parent], child, module)
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`__import__` of the user's modules: the package's own first, boto3 replaced, all else as it is."""
        if level:
            base = (globals or {}).get("__package__") or ""
            parts = base.split(".")[: len(base.split(".")) - level + 1]
            name = ".".join([*parts, name] if name else parts)
        top = name.partition(".")[0]
        if top == "boto3":
            real = builtins.__import__(name, None, None, fromlist or (), 0)
            replaced = {"boto3": self._boto3, "boto3.session": self._boto3.session}
            return replaced.get(name, real) if fromlist else self._boto3
        if self._package.holds(top):
            module = self._load(name)
            for item in fromlist or ():
                if not hasattr(module, item) and self._package.holds(f"{name}.{item}"):
                    self._load(f"{name}.{item}")
            return module if fromlist else self._modules[top]
        return builtins.__import__(name, globals, locals, fromlist or (), 0)


class _Inside:
    """The process as user code sees it, for as long as it runs."""

    __slots__ = ("_environ", "_handlers", "_level", "_runtime", "_stderr", "_stdout")

    def __init__(self, runtime: PythonRuntime) -> None:
        self._runtime = runtime

    def __enter__(self) -> None:
        runtime, root = self._runtime, logging.root
        self._environ, self._stdout, self._stderr = os.environ, sys.stdout, sys.stderr
        self._handlers, self._level = root.handlers, root.level
        os.environ = runtime._environ  # type: ignore[assignment]  # noqa: B003 the process's own stays untouched
        sys.stdout = sys.stderr = runtime._stdout
        root.handlers = [runtime._log_handler]
        _set_root_level(runtime._root_level)

    def __exit__(self, *_: object) -> None:
        runtime, root = self._runtime, logging.root
        runtime._root_level = root.level
        root.handlers = self._handlers
        _set_root_level(self._level)
        os.environ, sys.stdout, sys.stderr = self._environ, self._stdout, self._stderr


def _set_root_level(level: int) -> None:
    """Loggers remember what they write until a level is set, which takes 15 us: not where it is the same."""
    if logging.root.level != level:
        logging.root.setLevel(level)


def to_json(value: Any) -> bytes:
    """JSON as the runtime marshals a handler's result: UTF-8, decimals as numbers. Raises TypeError, ValueError."""
    return _ENCODER.encode(value).encode("utf-8")


def _encode_decimal(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_encode_decimal)


def _environ(function: FunctionDefinition, log_stream: str, initialization_type: str) -> dict[str, str]:
    """The variables Lambda sets (AWS documentation, configuration-envvars), and the function's own."""
    return {
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if function.snap_start else initialization_type,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_SESSION_TOKEN": "sandbox",
        "AWS_ACCOUNT_ID": ACCOUNT_ID,
        "LAMBDA_TASK_ROOT": TASK_ROOT,
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "_HANDLER": function.handler,
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        **function.environment,
    }


def _boto3_stand_in(function: FunctionDefinition, make_client: MakeClient, make_resource: MakeClient) -> ModuleType:
    """A module `boto3` whose clients are the sandbox's own; its sub-modules (conditions, types) are the real ones."""

    class Session:
        """`boto3.session.Session`, as far as a handler uses it. Whatever else is given, clients are the function's."""

        region_name = function.region

        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def client(self, service_name: str, *_: Any, **__: Any) -> Any:
            return make_client(service_name, function)

        def resource(self, service_name: str, *_: Any, **__: Any) -> Any:
            return make_resource(service_name, function)

    session = Session()
    stand_in = ModuleType("boto3")
    stand_in.__dict__.update(
        __getattr__=partial(getattr, boto3),
        client=session.client,
        resource=session.resource,
        Session=Session,
        session=SimpleNamespace(Session=Session),
    )
    return stand_in
