"""The requests of flow custom: which come next, what they hold, and what is wrong with a flow's files."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from config.custom_flow import custom_flow_from
from config.errors import ConfigError
from loadgen.checks import success_status
from loadgen.custom_files import compare_files, load_custom
from loadgen.custom_flow import CustomRequests, row_names
from loadgen.leases import Lessor
from loadgen.payload_file import PayloadFileError, survey
from loadgen.row_supply import OutOfRowsError, RowSupply
from loadgen.templates import RenderError
from loadgen.transport import Response


class Listed:
    """Rows of a list, each once."""

    def __init__(self, *rows: dict) -> None:
        self.rows = list(rows)

    def take(self):
        if not self.rows:
            raise OutOfRowsError
        return self.rows.pop(0), 17


def requests(*tables: dict, rows: Listed | None = None, variables: dict | None = None, **top: object) -> CustomRequests:
    payloads = {"rows": {"file": "rows.jsonl"}} if any("payload" in table for table in tables) else {}
    flow = custom_flow_from({"requests": list(tables), "payloads": payloads, **top}, "flow.toml")
    made = CustomRequests(flow, variables or {}, Random(1), time.time)
    made.supply({"rows": rows or Listed()})
    return made


API = {"api": {"path": "/a"}}


def test_requests_come_by_their_weights():
    made = requests({**API, "weight": 3}, {"api": {"path": "/b", "method": "GET"}})
    source = Random(1)
    names = Counter(made.next(source)[0].name for _ in range(4000))
    assert set(names) == {"POST /a", "GET /b"}
    assert 2800 < names["POST /a"] < 3200


def test_a_request_without_rows_left_makes_room_for_the_others_and_the_last_says_so():
    made = requests({**API, "payload": "rows", "weight": 1000}, API, rows=Listed({"n": 1}, {"n": 2}))
    source = Random(1)
    bodies = [made.next(source)[1].bodies[0] for _ in range(5)]
    assert [body for body in bodies if body] == [{"n": 1}, {"n": 2}]
    alone = requests({**API, "payload": "rows"}, rows=Listed())
    said = []
    alone.on_out_of_rows = lambda: said.append(True)
    assert alone.next(source) is None
    assert said == [True]


def test_a_batch_takes_a_row_for_each_message_and_what_is_left_in_the_end():
    table = {"payload": "rows", "queue": {"url": "u", "batch": 3}, "body": {"n": "{{ row.n }}"}}
    made = requests(table, rows=Listed(*({"n": n} for n in range(5))))
    source = Random(1)
    assert made.next(source)[1].bodies == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert made.next(source)[1].bodies == [{"n": 3}, {"n": 4}]
    assert made.next(source) is None


@pytest.mark.parametrize(
    ("table", "bodies"),
    [
        ({**API, "payload": "rows"}, [{"n": 5}]),
        ({**API, "payload": "rows", "body": "{{ row }}"}, [{"n": 5}]),
        ({**API, "payload": "rows", "body": {"m": "{{ row.n }}"}}, [{"m": 5}]),
        (API, [None]),
        ({"api": {"path": "/", "method": "GET"}, "payload": "rows"}, [None]),
        ({"api": {"path": "/", "method": "DELETE"}, "payload": "rows", "body": "{{ row }}"}, [{"n": 5}]),
        ({"queue": {"url": "u", "batch": 2}}, [{}, {}]),
        ({"invoke": {"function": "f"}}, [{}]),
    ],
)
def test_bodies(table, bodies):
    assert requests(table, rows=Listed({"n": 5})).next(Random(1))[1].bodies == bodies


def test_destinations_and_headers_are_rendered():
    api = {"path": "/a/{{ row.x }}?y={{ row.x }}", "headers": {"X-Tenant": "t-{{ env.T }}"}}
    made = requests({"api": api, "payload": "rows", "body": {}}, rows=Listed({"x": "ü/1"}), variables={"T": "blue"})
    request, content = made.next(Random(1))
    assert (content.destination, content.headers) == ("/a/%C3%BC%2F1?y=%C3%BC%2F1", {"X-Tenant": "t-blue"})
    assert request.name == "POST /a/{row.x}"


def test_a_header_cannot_be_broken_by_a_row_and_the_row_is_named():
    api = {"path": "/", "headers": {"X-A": "{{ row.x }}"}}
    made = requests({"api": api, "payload": "rows"}, rows=Listed({"x": "a\r\nX-B: c"}))
    with pytest.raises(RenderError, match=r"headers\.X-A: .* \(payload rows, line 17\)"):
        made.next(Random(1))


def test_a_body_that_is_no_object_is_no_body():
    made = requests({**API, "payload": "rows", "body": "{{ row.n }}"}, rows=Listed({"n": 5}))
    with pytest.raises(RenderError, match=r"requests\.1\.body: it makes no JSON object"):
        made.next(Random(1))


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ({"api": {"path": "/a/{{ row.b }}?c=d", "method": "GET"}}, ["GET /a/{row.b}"]),
        ({"api": {"path": "/a"}}, ["POST n"]),
        ({"invoke": {"function": "f", "invocation_type": "Event"}}, ["Invoke f (Event)"]),
        ({"queue": {"url": "u"}}, ["SendMessage n", "SendMessageBatch n"]),
        ({"bus": {"name": "b", "source": "s", "detail_type": "d"}}, ["PutEvents to EventBridge"]),
        ({"stream": {"name": "b"}}, ["PutRecord to Kinesis", "PutRecords to Kinesis"]),
    ],
)
def test_names_of_rows_begin_with_their_operation(table, names):
    name = {"name": "n"} if names[0].endswith(" n") else {}
    flow = custom_flow_from({"requests": [{**table, **name}]}, "f")
    assert row_names(flow, [name.get("name")]) == names


def test_checks_are_those_of_the_file_in_order():
    table = {
        **API,
        "status": [200, 201],
        "has": "$.a",
        "equals": {"$.b": 1},
        "matches": {"$.c": "^x"},
        "no_error_member": True,
    }
    check = requests(table).next(Random(1))[0].check
    for body, error in (
        (b'{"a": 1, "b": 1, "c": "xy"}', ""),
        (b'{"b": 1, "c": "xy"}', "check failed: body has $.a"),
        (b'{"a": 1, "b": 2}', "check failed: $.b is 1"),
        (b'{"a": 1, "b": 1, "c": "y"}', "check failed: $.c matches ^x"),
        (b'{"a": 1, "b": 1, "c": "x", "error": "no"}', "check failed: no error member"),
    ):
        assert check(Response(200, {}, body)) == error
    assert check(Response(204, {}, b"")) == "check failed: status is 200 or 201"
    assert requests(API).next(Random(1))[0].check is success_status


def test_rows_come_from_a_file_by_leases(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("n,t\n" + "".join(f'{n},"a\n{n}"\n' for n in range(500)))
    file = survey(path)
    lessor = Lessor(file.chunks, "once", 1)

    def ask(supply, question):
        supply.answered(question.number, lessor.ask("", *question), lessor.exhausted)

    supply = RowSupply(path, file.columns, ask)
    taken = [supply.take() for _ in range(500)]
    assert [row for row, _ in taken] == [{"n": str(n), "t": f"a\n{n}"} for n in range(500)]
    assert [line for _, line in taken] == [2 + 2 * n for n in range(500)]
    with pytest.raises(OutOfRowsError):
        supply.take()


def test_a_row_that_was_changed_while_the_run_goes_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\n')
    lessor = Lessor(survey(path).chunks, "sequential", 1)
    supply = RowSupply(path, (), lambda supply, asked: supply.answered(asked.number, lessor.ask("", *asked), False))
    path.write_text('{"n": 1}\n{"n": 2,\n')
    assert supply.take() == ({"n": 1}, 1)
    with pytest.raises(PayloadFileError, match=r"rows\.jsonl:2: not valid JSON.*; it was changed meanwhile"):
        supply.take()


def flow_file(directory: Path, text: str, **files: str) -> Path:
    for name, content in files.items():
        (directory / name.replace("_", ".")).write_text(content)
    (directory / "flow.toml").write_text(text)
    return directory / "flow.toml"


FLOW = """
environment = ["SWARMSCOPE_TEST_TENANT"]
[payloads.rows]
file = "rows.csv"
[payloads.others]
file = "others.jsonl"
[[requests]]
payload = "rows"
has = "$.a["
[requests.api]
path = "/{{ row.x"
[[requests]]
payload = "others"
[requests.api]
path = "/"
"""


def test_everything_wrong_with_the_files_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SWARMSCOPE_TEST_TENANT", "hunter2")
    path = flow_file(tmp_path, FLOW, rows_csv="x\n1\n2,3\n", others_jsonl='{"a": 1}\n{"a": \n')
    with pytest.raises(ConfigError) as refused:
        load_custom(path)
    said = "\n".join(refused.value.problems)
    assert f"{tmp_path / 'rows.csv'}:3: 2 fields" in said
    assert f"{tmp_path / 'others.jsonl'}:2: not valid JSON" in said
    assert f"{path}: requests.1." in said
    assert "hunter2" not in said


def test_a_variable_that_is_not_set_and_a_column_that_is_not_there(tmp_path, monkeypatch):
    text = '[payloads.rows]\nfile = "rows.csv"\n[[requests]]\npayload = "rows"\n'
    text += 'body = {a = "{{ row.y }}"}\napi = {path = "/"}\n'
    path = flow_file(tmp_path, text, rows_csv="x\n1\n")
    with pytest.raises(ConfigError, match=r"flow\.toml: requests\.1\.body\.a: .*there is no 'y', but 'x'"):
        load_custom(path)
    path = flow_file(tmp_path, 'environment = ["SWARMSCOPE_TEST_TENANT"]\n' + text, rows_csv="y\n1\n")
    with pytest.raises(ConfigError, match=r"flow\.toml: environment: SWARMSCOPE_TEST_TENANT is not set"):
        load_custom(path)


def test_a_worker_with_another_file_than_the_master_is_told_so(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x\n1\n")
    theirs = {"file": str(path), "sha256": survey(path).sha256}
    compare_files([theirs], lambda: None)
    path.write_text("x\n2\n")
    with pytest.raises(ConfigError, match=r"rows\.csv: it is not the master's"):
        compare_files([theirs], lambda: None)
    with pytest.raises(ConfigError, match=r"gone\.csv: no such file or directory; the master has it"):
        compare_files([{**theirs, "file": str(tmp_path / "gone.csv")}], lambda: None)
