import pytest

from sandbox.model.parameters import FUNCTIONS, Parameters, ParametersError, load_parameters, parse_parameters


def test_nothing_given_is_the_built_in_model():
    assert load_parameters(None) == parse_parameters({}) == Parameters()


def test_one_value_is_overridden_and_the_others_stay():
    changed = parse_parameters({"lambda": {"async_retry_waits_s": [1, 2]}})
    assert changed.lambda_.async_retry_waits_s == (1.0, 2.0)
    assert changed.lambda_.account_concurrency == 1000
    assert changed.functions == FUNCTIONS


def test_a_built_in_function_keeps_what_is_not_given():
    changed = parse_parameters({"functions": {"place-vote": {"io_ms": 30}}})
    assert changed.timing("place-vote").io_ms == 30
    assert changed.timing("place-vote").cpu_ms == FUNCTIONS["place-vote"].cpu_ms


def test_a_new_function_starts_from_the_default_as_it_is_overridden():
    changed = parse_parameters({"functions": {"mine": {"io_ms": 1}}, "default_function": {"cpu_ms": 9}})
    assert (changed.timing("mine").io_ms, changed.timing("mine").cpu_ms) == (1, 9)
    assert changed.timing("other").cpu_ms == 9


def test_every_unknown_name_and_bad_value_is_told():
    with pytest.raises(ParametersError) as refused:
        parse_parameters({"lambda": {"concurency": 1, "trace_rate": 2}, "kafka": {}}, "model.toml")
    text = str(refused.value)
    assert len(refused.value.problems) == 3
    assert "model.toml: lambda.concurency: unknown key" in text
    assert "lambda.trace_rate" in text
    assert "kafka" in text


@pytest.mark.parametrize("section", [{"lambda": 3}, {"functions": {"place-vote": 3}}, {"functions": []}])
def test_a_section_of_the_wrong_kind_is_refused(section):
    with pytest.raises(ParametersError):
        parse_parameters(section)


def test_malformed_toml_names_the_file_and_the_line(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text("[lambda\n")
    with pytest.raises(ParametersError, match=r"model\.toml: .*line 1"):
        load_parameters(path)


def test_a_file_is_read_like_a_mapping(tmp_path):
    path = tmp_path / "model.toml"
    path.write_text("[api_gateway]\noverhead_ms = 0\n[functions.place-vote]\ninit_ms = 5.0\n")
    parameters = load_parameters(path)
    assert parameters.api_gateway.overhead_ms == 0
    assert parameters.timing("place-vote").init_ms == 5.0
