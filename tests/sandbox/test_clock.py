"""The sandbox's clock against the machine's, on the event loop that the server runs on."""

import asyncio
import time

import uvloop

from sandbox.clock import LoopScheduler


def test_the_clock_is_the_machines_to_the_microsecond_however_long_the_loop_was_busy():
    async def look():
        scheduler = LoopScheduler(asyncio.get_running_loop())
        time.sleep(0.005)
        return time.time(), scheduler.now(), time.time()

    before, now, after = uvloop.run(look())
    assert before - 1e-4 <= now <= after + 1e-4


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
