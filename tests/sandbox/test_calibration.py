"""The modelled durations against the figures published for the shop application (a sequential run of 101 messages)."""

from __future__ import annotations

import re
from statistics import fmean

import pytest

from tests.sandbox.lab import ECHO, Lab, function

MESSAGES = 101
CLIENT_S = 0.005
"""What client, network and gateway add between an answer and the next request's arrival at the function."""
CHAIN = ("shop-accept", "shop-decrypt", "shop-update-db")

PUBLISHED_MEAN_MS = {
    128: {"shop-accept": 217.91, "shop-decrypt": 450.14, "shop-update-db": 456.55},
    3008: {"shop-accept": 51.49, "shop-decrypt": 88.0, "shop-update-db": 69.0},
}
PUBLISHED_RANGE_MS = {
    128: {"shop-accept": (177, 931), "shop-decrypt": (383, 1201), "shop-update-db": (335, 1177)},
    3008: {"shop-accept": (35, 119), "shop-decrypt": (63, 170), "shop-update-db": (42, 173)},
}


def sequential_run(memory_mb: int, seed: int, *, waits_for_the_first: bool = False) -> Lab:
    """101 messages, the next sent when the last one is accepted; each goes down the chain on its own."""
    lab = Lab(*(function(name, ECHO, memory_mb=memory_mb) for name in CHAIN), seed=seed)
    hop_s = (lab.parameters.sns.delivery_ms + lab.parameters.lambda_.async_dispatch_ms) / 1000

    def pass_on(hop: int) -> None:
        if hop < len(CHAIN):
            definition = lab.definitions.functions[CHAIN[hop]]
            lab.clock.at(lab.clock.now() + hop_s, lambda: start(definition, hop))

    def start(definition, hop):
        lab.service.invoke(definition, b"{}", lambda _: pass_on(hop + 1))

    def send(left: int) -> None:
        def accepted(_):
            pass_on(1)
            pause_s = 10.0 if waits_for_the_first and left == MESSAGES else CLIENT_S
            if left > 1:
                lab.clock.at(lab.clock.now() + pause_s, lambda: send(left - 1))

        lab.service.invoke(lab.definitions.functions["shop-accept"], b"{}", accepted)

    send(MESSAGES)
    lab.clock.run_all()
    return lab


def durations(lab: Lab, name: str) -> list[float]:
    found = [re.search(r"\tDuration: ([0-9.]+) ms", report) for report in lab.logs.reports(f"/aws/lambda/{name}")]
    return [float(match[1]) for match in found if match]


@pytest.mark.parametrize("waits_for_the_first", [False, True])
@pytest.mark.parametrize("memory_mb", [128, 3008])
def test_means_of_a_sequential_run_are_within_ten_percent_of_the_published_ones(memory_mb, waits_for_the_first):
    for seed in range(1, 9):
        lab = sequential_run(memory_mb, seed, waits_for_the_first=waits_for_the_first)
        for name, published in PUBLISHED_MEAN_MS[memory_mb].items():
            measured = durations(lab, name)
            assert len(measured) == MESSAGES
            assert fmean(measured) == pytest.approx(published, rel=0.10), (name, seed)


@pytest.mark.parametrize("memory_mb", [128, 3008])
def test_extremes_of_a_sequential_run_are_near_the_published_ones(memory_mb):
    """The least duration is a bound of the model; the greatest is a first call, with its jitter on top."""
    for seed in range(1, 9):
        lab = sequential_run(memory_mb, seed)
        for name, (least, greatest) in PUBLISHED_RANGE_MS[memory_mb].items():
            measured = durations(lab, name)
            assert min(measured) == pytest.approx(least, rel=0.10), (name, seed)
            assert max(measured) == pytest.approx(greatest, rel=0.30), (name, seed)


def test_memory_used_is_69_to_72_mb_at_128_mb():
    lab = sequential_run(128, seed=1)
    for name in CHAIN:
        reports = lab.logs.reports(f"/aws/lambda/{name}")
        used = {int(match[1]) for report in reports if (match := re.search(r"Max Memory Used: (\d+) MB", report))}
        assert used <= {69, 70, 71, 72}


def test_the_first_call_of_a_run_is_by_far_the_slowest_accept():
    lab = sequential_run(128, seed=1)
    first, *others = durations(lab, "shop-accept")
    assert first == pytest.approx(931, rel=0.15)
    assert max(others) < first / 2


def test_a_run_is_repeatable():
    assert sequential_run(128, seed=3).logs.events == sequential_run(128, seed=3).logs.events


def test_another_seed_gives_other_durations():
    assert durations(sequential_run(128, seed=3), "shop-accept") != durations(
        sequential_run(128, seed=4), "shop-accept"
    )
