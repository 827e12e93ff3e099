"""The data files that quotas and the generator's rates come from: read, checked, and the shipped ones sound."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.generator_rates import load_generator_rates
from config.quotas import load_quotas


@pytest.mark.parametrize(
    ("name", "region", "value"),
    [
        ("sns_publishes_per_s", "eu-west-1", 9_000),
        ("sns_publishes_per_s", "sa-east-1", 300),
        ("eventbridge_puts_per_s", "eu-west-2", 1_200),
        ("eventbridge_puts_per_s", "sa-east-1", None),
        ("dynamodb_table_write_units_per_s", None, 40_000),
    ],
)
def test_quota_of_a_region_or_of_all_others_or_unknown(name, region, value):
    quota = load_quotas().of(name, region)
    assert quota.value == value
    assert quota.source.startswith("https://docs.aws.amazon.com/")


def test_quotas_without_source_or_sense_are_refused(tmp_path: Path):
    file = tmp_path / "quotas.toml"
    file.write_text('[a]\nother = 1\n[b]\nsource = "x"\nother = 0\n')
    with pytest.raises(ConfigError) as refused:
        load_quotas(file)
    assert [problem.removeprefix(f"{file}: ") for problem in refused.value.problems] == [
        "a.source: needed, so that a quota can be checked",
        "b.other: 0 is not a number above 0",
    ]


def test_rates_of_a_core_say_how_they_were_measured():
    rates = load_generator_rates()
    assert "BENCH=generator" in rates.how
    assert rates.requests_per_s.plain > rates.requests_per_s.tls > rates.requests_per_s.signed > 0
    assert 0 < rates.share <= 1


@pytest.mark.parametrize("text", ["share = 0.5", "not toml"])
def test_rates_that_cannot_be_used_are_refused_by_file(tmp_path: Path, text):
    file = tmp_path / "rates.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(str(file))):
        load_generator_rates(file)
