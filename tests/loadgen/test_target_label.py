"""What a manifest calls the target."""

from __future__ import annotations

import pytest

from config.settings import settings_from
from loadgen.target_label import LOCAL, label

STAGE = "/restapis/a1/prod/_user_request_"


@pytest.mark.parametrize(
    ("host", "services", "labelled"),
    [
        ("http://127.0.0.1:8000", (), (LOCAL, False)),
        ("http://localhost:8000/prod", (), (LOCAL, False)),
        (f"http://127.0.0.1:8000{STAGE}", (), ("sandbox", True)),
        (f"http://localhost:4599{STAGE}", (), ("sandbox", True)),
        ("http://localhost:4599/anything", (), ("sandbox", True)),
        ("http://127.0.0.1:8000", ("lambda",), ("sandbox", True)),
        (None, ("lambda",), ("sandbox", True)),
    ],
)
def test_only_what_a_sandbox_answers_is_labelled_as_simulated(host, services, labelled):
    settings = settings_from({"AWS_ENDPOINT_URL": "http://127.0.0.1:4599"})
    assert label(settings, host, services) == labelled


@pytest.mark.parametrize(("target", "simulated"), [("aws", False), ("emulator", True)])
def test_a_target_that_is_named_is_taken_at_its_word(target, simulated):
    settings = settings_from({"TARGET": target, "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert label(settings, "http://127.0.0.1:8000", ()) == (target, simulated)
