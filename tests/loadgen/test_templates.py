"""Templates: values of every type, hostile rows, and what cannot be rendered."""

from __future__ import annotations

import json
import re
from random import Random
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.templates import RenderError, Templates

NOW = 1795255201.25


def templates(row: object = None, **variables: str) -> Templates:
    made = Templates(variables, Random(1), lambda: NOW)
    made.set_row(row)
    return made


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        (5, 5),
        ("{{ row.n }}", 5),
        ("{{ row.n }}0", "50"),
        ("{{ row.text | int }}", 7),
        ("{{ row.list }}", [1, {"a": None}]),
        ("{{ row }}", {"n": 5, "text": "7", "list": [1, {"a": None}], "items": "mine", "a b": 1}),
        ("{{ row.items }}", "mine"),
        ("{{ row['a b'] }}", 1),
        ("{{ env.TENANT }}-{{ row.n }}", "blue-5"),
        ("{% if row.n > 3 %}many{% else %}few{% endif %}", "many"),
        ("{% for one in row.list %}{{ loop.index }}{% endfor %}", "12"),
        ({"a": ["{{ row.n }}", {"b": "{{ row.text }}"}], "c": True}, {"a": [5, {"b": "7"}], "c": True}),
        ("{{ now() }}", NOW),
        ("{{ now_ms() }}", 1795255201250),
        ("{{ now_iso() }}", "2026-11-21T10:00:01.250Z"),
    ],
)
def test_values(written, value):
    row = {"n": 5, "text": "7", "list": [1, {"a": None}], "items": "mine", "a b": 1}
    rendered = templates(row, TENANT="blue").value(written, "body")()
    assert rendered == value
    assert type(rendered) is type(value)


def test_random_values_are_the_seed_s_and_ids_are_not():
    def rendered() -> list:
        written = ["{{ random_int(1, 1000000) }}", "{{ random_hex(8) }}", "{{ random_choice(['a', 'b', 'c']) }}"]
        return templates().value([*written, "{{ random_float(0, 1) }}"], "body")()

    assert rendered() == rendered()
    assert re.fullmatch("[0-9a-f]{8}", rendered()[1])
    unique = templates().value("{{ unique_id() }}", "body")
    assert len({unique() for _ in range(100)} | {templates().value("{{ unique_id() }}", "body")()}) == 101


def test_each_row_is_rendered_anew():
    made = templates()
    render = made.value(
        "{% if row.a is defined %}{% set seen = row.a %}{% endif %}{{ seen | default('none') }}", "body"
    )
    for row, text in (({"a": 1}, "1"), ({}, "none"), ({"a": 2}, "2")):
        made.set_row(row)
        assert str(render()) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_row_breaks_out_of_its_string_or_its_path(text):
    made = templates({"x": text})
    body = made.value({"a": "{{ row.x }}", "b": "<{{ row.x }}>"}, "body")()
    assert json.loads(json.dumps(body)) == {"a": text, "b": f"<{text}>"}
    path = made.path("/a/{{ row.x }}/b?q={{ row.x }}", "path")()
    assert path.isascii() and path.isprintable() and " " not in path
    assert re.fullmatch(r"/a/([^/?]*)/b\?q=([^&]*)", path)
    assert unquote(path.split("=", 1)[1]) == text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{{ row.missing }}", "body: there is no 'missing', but "),
        ("a{{ nothing }}", "body: 'nothing' is undefined"),
        ("{{ env.HOME }}", "body: env.HOME: the key `environment` of the file does not name it"),
        ("{{ 1 / row.zero }}", "body: division by zero"),
        ("{{ row.__class__ }}", "unsafe"),
        ("{{ row.update({}) }}", "unsafe"),
        ("{{ random_int(env.SECRET, 3) }}", "body: "),
    ],
)
def test_what_cannot_be_rendered_says_where_and_tells_no_secret(written, said):
    render = templates({"zero": 0}, SECRET="hunter2").value(written, "body")
    with pytest.raises(RenderError, match=re.escape(said)) as refused:
        render()
    assert "hunter2" not in str(refused.value)


def test_a_template_without_end_is_refused_when_it_is_compiled():
    with pytest.raises(ValueError, match=r"requests\.1\.body\.a: "):
        templates().value({"a": "{{ row.x"}, "requests.1.body")


def test_there_is_no_row_without_a_payload():
    with pytest.raises(RenderError, match="'row' is undefined"):
        templates().value("{{ row.a }}", "body")()
