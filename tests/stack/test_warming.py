"""The warmer's event: every sample function answers it, and does, logs and measures nothing else."""

import re
from pathlib import Path

import pytest

VARIABLES = {"VOTES_STREAM": "votes", "VOTES_TABLE": "votes", "METRICS_NAMESPACE": "Samples"}
HANDLERS = re.findall(r"Handler: handler\.(\w+)", Path("stack/template.yaml").read_text())


@pytest.fixture
def handlers(load):
    modules = [load(application, **VARIABLES) for application in ("vote", "shop", "events")]
    return {name: getattr(module, name) for name in HANDLERS for module in modules if hasattr(module, name)}


def test_every_sample_function_answers_at_once(handlers, clients, context, log):
    assert len(handlers) == 10
    answers = {name: handler({"instruction": "warmer"}, context) for name, handler in handlers.items()}
    assert answers == {name: {"warm": True} for name in HANDLERS}
    assert clients.calls == []
    assert log() == []


def test_another_instruction_is_not_the_warmers(handlers, context):
    assert handlers["place_vote"]({"instruction": "other"}, context)["statusCode"] == 400
