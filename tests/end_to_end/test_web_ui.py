"""The web UI as somebody at a browser sees it: log in, start a run, see figures move, stop, open the report."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from control.processes import ROOT
from runstore.rundir import RunDir
from tests.end_to_end.browser import NO_PROXY, Page, find_browser
from tests.ports import NOBODY, free_port

CHROMIUM = find_browser()
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine (apt install chromium, or name one in CHROMIUM)"
    ),
    pytest.mark.timeout(600),  # a run from end to end, on a machine that may be slow
]

PROFILE = """
description = "two users who would go on for ten minutes"
flows = ["vote"]
pacing = "0.1s"
[[stages]]
duration = "600s"
users = 2
spawn_rate = 2
"""
TABLE = "[...document.querySelectorAll('table tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
VOTES = f"Number(({TABLE}.find((row) => row[0] === 'flow vote') ?? [])[1] ?? 0)"
"""Requests of the flow, as the tab shows them."""
FUNCTION = f"{TABLE}.find((row) => row[0] === 'function place-vote' && Number(row[6]) > 0)"
"""The function's row, once CloudWatch knows of a cold start."""


@pytest.fixture
def web_ui(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """`make ui` on a sandbox of its own, with a login."""
    folder = tmp_path
    (folder / "mine.toml").write_text(PROFILE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "RUNS_DIR": str(folder / "runs"),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{NOBODY}",
        "PROFILE": "mine.toml",
        "WEB_USER": "tester",
        "WEB_PASSWORD": "nine lives",
    }
    port = free_port()
    command = [sys.executable, "-m", "control", "ui", "--web-port", str(port), "--web-login"]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}/"
            end = time.monotonic() + 60
            while True:
                with suppress(OSError), NO_PROXY.open(url) as answer:
                    assert answer.status == 200
                    break
                assert process.poll() is None and time.monotonic() < end, (folder / "output.txt").read_text()
                time.sleep(0.1)
            yield url, folder
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    assert CHROMIUM is not None
    opened = Page(CHROMIUM, tmp_path)
    yield opened
    opened.close()


def test_a_run_is_started_watched_stopped_and_its_report_opened(web_ui, page):
    """One story: a web UI of its own for each fact would cost a quarter of a minute each."""
    url, folder = web_ui
    page.open(url)
    page.fill("input[name=username]", "tester")
    page.fill("input[name=password]", "nine lives")
    page.click("button[type=submit]")

    # A mistake comes back as a message, and starts nothing.
    page.click("p", "Custom parameters")
    page.fill("input[name=scale]", "many")
    page.click("button[type=submit]")
    refusal = page.wait_for("document.querySelector('.MuiAlert-message')?.innerText")
    assert "SCALE: 'many' is not a number" in refusal
    assert not (folder / "runs" / "latest").exists()

    page.fill("input[name=scale]", "2")
    page.click("button[type=submit]")
    page.click("button[role=tab]", "Serverless")
    first = page.wait_for(VOTES)
    page.wait_for(f"{VOTES} > {first}")
    run = RunDir((folder / "runs" / "latest").resolve())
    profile = run.read_manifest()["profile"]
    assert (profile["name"], profile["scale"], profile["stages"][0]["users"]) == ("mine", 2.0, 4)

    # CloudWatch's figures of the function come with its first poll.
    cells = page.wait_for(FUNCTION)
    invocations, cold_starts, concurrency = (int(cells[column]) for column in (1, 6, 7))
    assert invocations >= cold_starts >= 1 and concurrency >= 1
    _keep_screenshot(page, "running")

    page.click("button", "Stop")
    report = "[...document.querySelectorAll('#swarmscope-runs a')].find((link) => link.innerText === 'Report')"
    page.wait_for(f"!!({report})", 120)
    _keep_screenshot(page, "stopped")
    # In a new tab it would be another page's. In one go: links are made anew as the analysis gets on.
    page.evaluate(f"((link) => {{ link.target = ''; link.click(); }})({report})")
    page.wait_for("location.pathname.endsWith('report.html') && !!document.querySelector('#time-charts svg')")
    _keep_screenshot(page, "report")
    assert run.run_id in page.evaluate("document.title") + page.text()
    assert "POST /vote" in page.text()


def _keep_screenshot(page: Page, name: str) -> None:
    """For whoever wants to see it: SCREENSHOTS names a directory."""
    if directory := os.environ.get("SCREENSHOTS"):
        page.screenshot(Path(directory) / f"{name}.png")
