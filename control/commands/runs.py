"""`python -m control load | demo | smoke | perf | ui | master | worker`: runs from end to end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from analysis.finite_float import FiniteFloat
from config.errors import ConfigError
from control.commands.options import (
    dry_run_option,
    load_options,
    master_port_option,
    messages,
    out,
    parameter_option,
    profile_option,
    say,
    scale_option,
    seed_option,
    settings_of,
    target_option,
    target_options,
    time_scale_option,
    workers_option,
)

if TYPE_CHECKING:
    from control.run_request import Request


def _rehearsed(request: Request, *first: str) -> int:
    """Say what a run would do; `first`: what is said before."""
    from analysis.console import print_lines
    from control.rehearsal import rehearse

    print_lines((*first, *rehearse(request, os.environ, say)))
    return 0


@click.command()
@load_options
@profile_option("demo")
@workers_option
@dry_run_option()
def load(dry_run: bool, **options: Any) -> int:
    """Run a load profile, headless, with analysis and verdict."""
    from control import orchestrate
    from control.run_request import Request

    request = Request(**options)
    return _rehearsed(request) if dry_run else orchestrate.load(request, messages, out())


@click.command()
@seed_option
@scale_option
@time_scale_option
@dry_run_option()
def demo(dry_run: bool, **options: Any) -> int:
    """The main job from end to end on a sandbox of its own: all flows, a master and two workers.

    Its load is meant to break something, so a broken threshold is no failure here: 0 where the run is complete and
    every count of its summary equals the sandbox's own.
    """
    from control import demo, orchestrate
    from control.run_request import Request

    results = out()
    request = Request(profile="demo", target="sandbox", workers="2", private_sandbox=True, **options)
    if dry_run:
        return _rehearsed(request)
    return orchestrate.load(
        request, messages, results, then=lambda run, exit_code: demo.conclude(run, exit_code, results)
    )


@click.command()
@target_options
@dry_run_option()
def smoke(dry_run: bool, **options: Any) -> int:
    """Send one shop message with two records; 0 only if the table changed by exactly that."""
    from control import orchestrate
    from control.run_request import Request
    from control.smoke import SMOKE_SHOP

    request = Request(profile="smoke", shop_id=SMOKE_SHOP, **options)
    return _rehearsed(request) if dry_run else orchestrate.smoke(request, messages, out())


@click.command()
@target_options
@parameter_option
@click.option("--messages", envvar="MESSAGES", help="Messages to send one after another; else 100.")
@seed_option
@click.option(
    "--duration-limit-ms", type=FiniteFloat(min=0), default=500.0, show_default=True, help="Durations are over it."
)
@click.option(
    "--memory-headroom-mb", type=FiniteFloat(min=0), default=28.0, show_default=True, help="Memory to leave free."
)
@dry_run_option()
def perf(duration_limit_ms: float, memory_headroom_mb: float, dry_run: bool, **options: Any) -> int:
    """Send shop messages one after another, then print the statistics of each function."""
    from analysis import statistics_table
    from analysis.functions import Limits
    from control import orchestrate
    from control.run_request import Request
    from runstore.rundir import RunDir

    def statistics(run: RunDir, exit_code: int) -> int:
        measured = statistics_table.measure(run.file("invocations.parquet"), duration_limit_ms, memory_headroom_mb)
        click.echo(statistics_table.render(measured, duration_limit_ms, memory_headroom_mb), nl=False)
        return exit_code

    request = Request(profile="perf", **options)
    if dry_run:
        return _rehearsed(request)
    return orchestrate.load(request, messages, out(), Limits(duration_limit_ms, memory_headroom_mb), statistics)


@click.command()
@load_options
@profile_option("demo")
@click.option("--web-host", envvar="WEB_HOST", default="127.0.0.1", show_default=True, help="Where the web UI listens.")
@click.option(
    "--web-port", envvar="WEB_PORT", type=click.IntRange(1, 65535), default=8089, show_default=True, help="Its port."
)
@click.option("--web-login", envvar="WEB_LOGIN", is_flag=True, help="Ask for WEB_USER and WEB_PASSWORD.")
@click.option(
    "--live-cloudwatch",
    envvar="LIVE_CLOUDWATCH",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Show what CloudWatch knows while a run goes; AWS bills the questions.",
)
@dry_run_option()
def ui(web_host: str, web_port: int, web_login: bool, live_cloudwatch: str, dry_run: bool, **options: Any) -> int:
    """Locust's web UI; each run is analysed as soon as it has ended. Ctrl-C ends it."""
    from control import orchestrate
    from control.processes import is_port_free
    from control.run_request import Request

    if not is_port_free("" if web_host == "*" else web_host, web_port):
        raise ConfigError(f"WEB_PORT: something listens on {web_host}:{web_port} already; choose another")
    if web_login:
        settings_of(options["target"], options["stack_name"]).web_credentials()
    request = Request(**options)
    if dry_run:
        return _rehearsed(
            request, f"would open Locust's web UI at http://{web_host}:{web_port}; its form would begin as:"
        )
    listening = ["--web-host", web_host, "--web-port", str(web_port), "--live-cloudwatch", live_cloudwatch]
    return orchestrate.attend(
        request,
        listening + (["--web-login"] if web_login else []),
        messages,
        interactive=True,
    )


@click.command()
@load_options
@profile_option("demo")
@click.option(
    "--expect-workers",
    envvar="EXPECT_WORKERS",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Workers to wait for before the run begins.",
)
@click.option(
    "--master-bind-host", envvar="MASTER_BIND_HOST", default="*", show_default=True, help="Where workers may connect."
)
@master_port_option
@dry_run_option()
def master(expect_workers: int, master_bind_host: str, master_port: int, dry_run: bool, **options: Any) -> int:
    """The master of a distributed run: waits for its workers, runs the profile, analyses."""
    from control import orchestrate
    from control.processes import is_port_free
    from control.run_request import Request

    if not is_port_free("" if master_bind_host == "*" else master_bind_host, master_port):
        raise ConfigError(f"MASTER_PORT: {master_port} is taken, perhaps by another master; choose another")
    request = Request(**options)
    if dry_run:
        return _rehearsed(request, f"would wait for {expect_workers} workers on {master_bind_host}:{master_port}")
    role = ["--headless", "--master", "--master-bind-host", master_bind_host, "--master-bind-port", str(master_port)]
    return orchestrate.attend(
        request,
        [*role, "--expect-workers", str(expect_workers)],
        messages,
        interactive=False,
    )


@click.command()
@target_option
@click.option(
    "--master-host", envvar="MASTER_HOST", default="127.0.0.1", show_default=True, help="Where the master is."
)
@master_port_option
@dry_run_option()
def worker(target: str | None, master_host: str, master_port: int, dry_run: bool) -> int:
    """A worker of a distributed run: does what its master says, and ends with it."""
    from control import orchestrate
    from control.endpoints import check_known

    check_known(master_host, "MASTER_HOST")
    if dry_run:
        settings = settings_of(target, None)
        click.echo(f"would join the master at {master_host}:{master_port}, and send what it says to {settings.target}")
        return 0
    say(f"looking for a master at {master_host}:{master_port}; Ctrl-C gives up")
    return orchestrate.work(target, ["--master-host", master_host, "--master-port", str(master_port)])
