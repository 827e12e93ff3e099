"""User code as the Python runtime of Lambda runs it."""

from __future__ import annotations

import json
import logging
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.code_package import CodePackage
from sandbox.log_formats import TextFormat
from sandbox.runtime import HandlerError, PythonRuntime
from tests.sandbox.lab import function, zipped

REQUEST_ID = "8f507cfc-0000-4697-b07a-ac58fc914c95"


def runtime(code: str, handler: str = "handler.handle", clients: Any = None, **options: Any) -> PythonRuntime:
    modules = options.pop("modules", {})
    package = zipped(handler=code, **modules)
    definition = function(code=code, handler=handler, code_zip=package, **options)

    def client(service: str, of: Any) -> Any:
        return clients[service]

    return PythonRuntime(
        CodePackage(package), definition, "the-stream", client, client, lambda: 1000.0, TextFormat(new_style=True)
    )


def call(code: str, event: Any = None, **options: Any) -> Any:
    """The handler's result from JSON, or its HandlerError."""
    environment = runtime(code, **options)
    assert environment.init() is None
    outcome = environment.run(event, REQUEST_ID, deadline=1003.0)
    return outcome if isinstance(outcome, HandlerError) else json.loads(outcome)


# results


def test_a_result_comes_back_as_json():
    assert call("def handle(event, context): return {'got': event}", {"a": [1, None]}) == {"got": {"a": [1, None]}}


def test_decimals_become_numbers():
    assert call("from decimal import Decimal\ndef handle(event, context): return Decimal('1.5')") == 1.5


def test_a_result_that_is_not_json_is_a_marshal_error():
    error = call("def handle(event, context): return {1, 2}")
    assert (error.type, error.message) == (
        "Runtime.MarshalError",
        "Unable to marshal response: Object of type set is not JSON serializable",
    )


def test_the_context_tells_about_the_invocation():
    code = """
def handle(event, context):
    return [context.aws_request_id, context.function_name, context.function_version, context.memory_limit_in_mb,
            context.log_group_name, context.log_stream_name, context.invoked_function_arn,
            context.get_remaining_time_in_millis()]
"""
    assert call(code) == [
        REQUEST_ID, "echo", "$LATEST", "128", "/aws/lambda/echo", "the-stream",
        "arn:aws:lambda:us-east-1:123456789012:function:echo", 3000,
    ]  # fmt: skip


# surroundings


def test_the_functions_variables_are_its_whole_environment_and_only_while_it_runs():
    before = dict(os.environ)
    code = """
import os
X = os.environ["X"]
def handle(event, context):
    return [X, os.getenv("AWS_REGION"), "HOME" in os.environ]
"""
    assert call(code, environment={"X": "x"}) == ["x", "us-east-1", False]
    assert dict(os.environ) == before


def test_a_failing_handler_leaves_the_process_as_it_was():
    stdout, handlers, level = sys.stdout, logging.root.handlers, logging.root.level
    call("import logging\nlogging.getLogger().setLevel('DEBUG')\ndef handle(event, context): raise ValueError('x')")
    assert (sys.stdout, logging.root.handlers, logging.root.level) == (stdout, handlers, level)


def test_module_state_belongs_to_an_environment():
    code = "calls = []\ndef handle(event, context):\n    calls.append(1)\n    return len(calls)"
    package, definition = CodePackage(zipped(handler=code)), function(code=code)
    one, other = (
        PythonRuntime(
            package, definition, "s", lambda *_: None, lambda *_: None, lambda: 0.0, TextFormat(new_style=True)
        )
        for _ in range(2)
    )
    assert one.init() is None and other.init() is None
    assert [one.run({}, REQUEST_ID, 1.0), one.run({}, REQUEST_ID, 1.0), other.run({}, REQUEST_ID, 1.0)] == [
        b"1", b"2", b"1",
    ]  # fmt: skip


def test_a_repeated_init_starts_afresh():
    environment = runtime("calls = []\ndef handle(event, context):\n    calls.append(1)\n    return len(calls)")
    environment.init()
    environment.run({}, REQUEST_ID, 1.0)
    environment.init()
    assert environment.run({}, REQUEST_ID, 1.0) == b"1"


# modules


def test_modules_of_the_package_import_each_other():
    modules = {
        "rules": "from limits import LIMIT",
        "limits": "LIMIT = 7",
        "shop/__init__": "",
        "shop/item": "NAME = 'i'",
    }
    code = """
import rules, shop.item
from shop import item
def handle(event, context):
    from limits import LIMIT
    return [rules.LIMIT, LIMIT, shop.item.NAME, item.NAME]
"""
    assert call(code, modules=modules) == [7, 7, "i", "i"]


def test_relative_imports_work_in_a_package():
    modules = {
        "app/__init__": "",
        "app/main": "from .rules import LIMIT\ndef handle(e, c): return LIMIT",
        "app/rules": "LIMIT = 3",
    }
    assert call("", modules=modules, handler="app/main.handle") == 3


def test_a_package_module_hides_an_installed_one_and_leaves_no_trace():
    assert call("import yaml\ndef handle(e, c): return yaml.X", modules={"yaml": "X = 1"}) == 1
    assert not hasattr(sys.modules.get("yaml"), "X")


# boto3


def test_boto3_hands_out_the_sandboxs_clients():
    clients = {"kinesis": SimpleNamespace(put=lambda: "put"), "dynamodb": SimpleNamespace(put=lambda: "table")}
    code = """
import boto3
from boto3 import client
from boto3.session import Session
from botocore.config import Config
kinesis = boto3.client("kinesis", region_name="us-west-2", config=Config(retries={"total_max_attempts": 1}))
def handle(event, context):
    session = boto3.session.Session(region_name="x")
    return [kinesis.put(), client("kinesis").put(), Session().client("kinesis").put(), session.client("kinesis").put(),
            boto3.resource("dynamodb").put()]
"""
    assert call(code, clients=clients) == ["put", "put", "put", "put", "table"]


def test_boto3s_own_helpers_are_the_real_ones():
    code = """
import boto3
from boto3.dynamodb.conditions import Key
import boto3.dynamodb.types
def handle(event, context):
    return [type(Key("a").eq(1)).__name__, boto3.dynamodb.types.STRING]
"""
    assert call(code) == ["Equals", "S"]


# log events


def events(code: str) -> list[str]:
    environment = runtime(code)
    environment.init()
    environment.run({}, REQUEST_ID, 1.0)
    return environment.drain()


def test_each_printed_line_is_an_event():
    assert events("def handle(e, c):\n    print('a', 1)\n    print('b\\nc')\n    print('d', end='')") == [
        "a 1\n", "b\n", "c\n", "d",
    ]  # fmt: skip


def test_standard_error_is_logged_too():
    assert events("import sys\ndef handle(e, c): print('oh', file=sys.stderr)") == ["oh\n"]


def test_what_a_module_prints_at_import_is_logged():
    assert events("print('hello')\ndef handle(e, c): pass") == ["hello\n"]


def test_the_root_logger_writes_lambdas_format_at_warning_by_default():
    code = """
import logging
log = logging.getLogger()
def handle(event, context):
    log.info("not this")
    log.warning("this")
"""
    (line,) = events(code)
    level, _, request_id, message = line.split("\t")
    assert (level, request_id, message) == ("[WARNING]", REQUEST_ID, "this\n")


def test_a_log_level_set_by_the_function_holds_for_its_environment():
    code = "import logging\nlogging.getLogger().setLevel(logging.INFO)\ndef handle(e, c): logging.info('this')"
    assert [line.rpartition("\t")[2] for line in events(code)] == ["this\n"]


def test_functions_at_different_levels_take_turns():
    code = "import logging\nlogging.getLogger().setLevel('{}')\ndef handle(e, c): logging.info('this')"
    environments = [runtime(code.format(level)) for level in ("INFO", "WARNING")]
    written = []
    for environment in environments:
        environment.init()
    for environment in environments * 2:
        environment.run({}, REQUEST_ID, 1.0)
        written.append(len(environment.drain()))
    assert written == [1, 0, 1, 0]


# failures

FAILING = """
import json

def handle(event, context):
    return deeper(event)

def deeper(event):
    raise RuntimeError("no " + event["what"])
"""


def test_an_exception_becomes_the_runtimes_error_with_frames_in_var_task():
    error = call(FAILING, {"what": "luck"})
    assert (error.type, error.message) == ("RuntimeError", "no luck")
    assert list(error.stack_trace) == [
        '  File "/var/task/handler.py", line 5, in handle\n    return deeper(event)\n',
        '  File "/var/task/handler.py", line 8, in deeper\n    raise RuntimeError("no " + event["what"])\n',
    ]
    assert json.loads(error.payload(REQUEST_ID)) == {
        "errorMessage": "no luck",
        "errorType": "RuntimeError",
        "requestId": REQUEST_ID,
        "stackTrace": list(error.stack_trace),
    }


def test_library_frames_show_lambdas_paths():
    error = call("import json\ndef handle(e, c): return json.loads('{')")
    assert error.type == "JSONDecodeError"
    assert '  File "/var/lang/lib/python3.12/json/decoder.py"' in "".join(error.stack_trace)
    assert os.getcwd() not in "".join(error.stack_trace)  # noqa: PTH109


def test_a_clients_error_ends_the_trace_in_the_users_code():
    from sandbox.services.errors import AwsError

    def refuse() -> None:
        raise ClientError({"Error": {"Code": "Throttled", "Message": "slow down"}}, "PutRecord") from AwsError("x", "y")

    clients = {"kinesis": SimpleNamespace(put=refuse)}
    error = call("import boto3\nk = boto3.client('kinesis')\ndef handle(e, c): k.put()", clients=clients)
    assert error.type == "ClientError"
    assert error.message == "An error occurred (Throttled) when calling the PutRecord operation: slow down"
    assert error.stack_trace[0] == '  File "/var/task/handler.py", line 3, in handle\n    def handle(e, c): k.put()\n'


def test_an_exception_without_a_text_of_its_own_is_still_an_error():
    code = "class Mute(Exception):\n    def __str__(self): raise ValueError\ndef handle(e, c): raise Mute"
    assert call(code).message == "<exception str() failed>"


def test_characters_that_cannot_be_encoded_do_not_lose_the_error():
    error = call("def handle(e, c): raise ValueError('\\ud800')")
    assert json.loads(error.payload(REQUEST_ID))["errorMessage"] == "?"


@pytest.mark.parametrize("result", ["'\\ud800'", "loop"])
def test_what_cannot_be_written_as_json_is_a_marshal_error(result):
    assert call(f"loop = []\nloop.append(loop)\ndef handle(e, c): return {result}").type == "Runtime.MarshalError"


@pytest.mark.parametrize("statement", ["sys.exit(1)", "raise KeyboardInterrupt"])
def test_leaving_ends_the_runtime(statement):
    error = call(f"import sys\ndef handle(e, c): {statement}")
    assert error.exited
    assert error.type == "Runtime.ExitError"


@pytest.mark.parametrize(
    ("code", "handler", "error_type", "message"),
    [
        ("import nope", "handler.handle", "Runtime.ImportModuleError",
         "Unable to import module 'handler': No module named 'nope'"),
        ("", "other.handle", "Runtime.ImportModuleError", "Unable to import module 'other': No module named 'other'"),
        ("", "handler.handle", "Runtime.HandlerNotFound", "Handler 'handle' missing on module 'handler'"),
        ("", "handle", "Runtime.MalformedHandlerName",
         "Bad handler 'handle': not enough values to unpack (expected 2, got 1)"),
        ("1 = 2", "handler.handle", "Runtime.UserCodeSyntaxError", "Syntax error in module 'handler': "),
        ("import os\nos.environ['MISSING']", "handler.handle", "KeyError", "'MISSING'"),
        ("import sys\nsys.exit(3)", "handler.handle", "Runtime.ExitError", "Runtime exited"),
    ],
)  # fmt: skip
def test_a_failed_init_says_why_as_the_runtime_does(code, handler, error_type, message):
    error = runtime(code, handler=handler).init()
    assert error is not None
    assert error.type == error_type
    assert error.message.startswith(message)


def test_a_package_that_is_no_zip_has_no_modules():
    assert CodePackage(b"not a zip").sources == {}
