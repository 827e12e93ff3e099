"""The sandbox's clock against the machine's, on the event loop that the server runs on."""

import asyncio
import itertools
import time
from types import SimpleNamespace

import uvloop

from sandbox.clock import LoopScheduler


def test_the_clock_is_the_machines_to_the_microsecond_however_long_the_loop_was_busy():
    async def look():
        scheduler = LoopScheduler(asyncio.get_running_loop())
        time.sleep(0.005)
        return time.time(), scheduler.now(), time.time()

    before, now, after = uvloop.run(look())
    assert before - 1e-4 <= now <= after + 1e-4


def test_a_clock_that_lost_the_processor_as_it_was_set_is_right_all_the_same(monkeypatch):
    """The first look at the one clock and that at the other are two seconds apart."""
    monotonic_s, waits_s = 100.0, itertools.chain([2.0], itertools.repeat(0.0))

    def wall():
        nonlocal monotonic_s
        seen = 1_800_000_000.0 + monotonic_s
        monotonic_s += next(waits_s)
        return seen

    async def look():
        return LoopScheduler(asyncio.get_running_loop()).now()

    monkeypatch.setattr("sandbox.clock.time", SimpleNamespace(time=wall, monotonic=lambda: monotonic_s))
    assert uvloop.run(look()) == 1_800_000_102.0


def test_no_alarm_rings_before_its_time():
    async def wait(after_s):
        loop = asyncio.get_running_loop()
        scheduler, rang = LoopScheduler(loop), loop.create_future()
        due = scheduler.now() + after_s
        scheduler.at(due, lambda: rang.set_result(scheduler.now()))
        return await rang - due

    async def wait_for_all():
        return await asyncio.gather(*(wait(0.005 + number / 10_000) for number in range(100)))

    assert min(uvloop.run(wait_for_all())) >= 0


def test_who_looks_while_the_loop_is_busy_finds_what_is_overdue_done_in_the_order_of_time():
    async def look():
        scheduler, done = LoopScheduler(asyncio.get_running_loop()), []
        start = scheduler.now()
        for after_s in (0.003, 0.001, 0.002, 60.0):
            scheduler.at(start + after_s, lambda after_s=after_s: done.append(after_s))
        time.sleep(0.005)
        scheduler.catch_up()
        return done

    assert uvloop.run(look()) == [0.001, 0.002, 0.003]


def test_what_an_overdue_action_asks_for_is_done_too_and_one_that_fails_keeps_none_from_it():
    async def look():
        loop, failures = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        scheduler, over = LoopScheduler(loop), loop.create_future()

        def ask_for_more():
            scheduler.catch_up()
            scheduler.at(start, lambda: over.set_result(None))

        start = scheduler.now()
        scheduler.at(start, lambda: 1 / 0)
        scheduler.at(start, ask_for_more)
        scheduler.catch_up()
        later = not over.done()
        await asyncio.wait_for(over, 60)
        return later, [type(failure) for failure in failures]

    assert uvloop.run(look()) == (True, [ZeroDivisionError])
