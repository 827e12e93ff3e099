"""`python -m control`: what happens around a run. Results go to stdout, messages to stderr.

Exit codes: 0 all well, 1 a threshold failed or a message did not arrive, 2 wrong usage or configuration, 3 the run or
its data is incomplete, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError
from dotenv import load_dotenv

from analysis.errors import AnalysisError, is_interruption
from config.aws_refusals import explain
from config.errors import ConfigError
from control import policies
from control.commands import deployment, runs, tuning
from control.commands.alarms import alarms
from control.commands.policies import policy
from control.commands.preflight import preflight
from control.commands.provisioned import provisioned
from control.errors import ControlError
from control.starter import end_with


class ControlGroup(click.Group):
    """A group whose commands return their exit code, and whose errors become messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            exit_code = super().invoke(ctx)
        except BrokenPipeError:
            raise  # nobody reads us any more: click's matter
        except (ControlError, ConfigError, AnalysisError, KeyboardInterrupt, OSError, *_AWS_ERRORS) as error:
            exit_code = _tell(error, ctx.invoked_subcommand)
        except Exception as error:
            if not is_interruption(error):
                raise
            exit_code = _tell(KeyboardInterrupt(), ctx.invoked_subcommand)
        ctx.exit(exit_code or 0)


_AWS_ERRORS = (ClientError, BotoCoreError)
_NOT_REACHED = (
    "AWS: check the network, HTTPS_PROXY and AWS_REGION; a sandbox or an emulator: check that it runs (`make sandbox`) "
    "and AWS_ENDPOINT_URL"
)


def _tell(error: BaseException, command: str | None) -> int:
    """Say on stderr what went wrong; -> the exit code."""
    if isinstance(error, ConfigError):
        exit_code, lines = error.exit_code, [f"error: {problem}" for problem in error.problems]
    elif isinstance(error, ControlError | AnalysisError):
        exit_code, lines = error.exit_code, [f"error: {error}"]
    elif isinstance(error, KeyboardInterrupt):
        exit_code, lines = 130, ["interrupted"]
    elif isinstance(error, _AWS_ERRORS) and (refused := explain(error, os.environ.get("AWS_PROFILE"))) is not None:
        hint = policies.hint(refused.action, command) or refused.hint
        exit_code, lines = 2, [f"error: {refused.message}", f"hint: {hint}"]
    elif isinstance(error, HTTPClientError | NoConnectionError):
        exit_code, lines = 2, [f"error: {error}", f"hint: {_NOT_REACHED}"]
    elif isinstance(error, ClientError):
        exit_code, lines = 2, [f"error: AWS refused: {error}"]
    elif isinstance(error, BotoCoreError):
        exit_code, lines = 2, [f"error: {error}", "hint: see AWS_PROFILE and AWS_REGION in .env.example"]
    else:
        exit_code, lines = 3, [f"error: {error}"]  # a full disk, most likely: what was recorded until then stays
    for line in lines:
        click.echo(line, err=True)
    return exit_code


@click.group(cls=ControlGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Run load tests from end to end, and deploy what they run against.

    Exit codes: 0 all well, 1 a threshold failed or a message did not arrive, 2 wrong usage or
    configuration, 3 the run or its data is incomplete, 130 interrupted.
    """
    load_dotenv(".env", interpolate=False)
    # However a run is interrupted, also where a shell started it in the background and had it ignore Ctrl-C.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)


for command in (
    runs.demo,
    runs.smoke,
    runs.perf,
    runs.load,
    runs.ui,
    runs.master,
    runs.worker,
    preflight,
    deployment.deploy,
    deployment.destroy,
    tuning.tune,
    provisioned,
    policy,
    alarms,
):
    main.add_command(command)


if __name__ == "__main__":
    if "MAKELEVEL" in os.environ:  # make has started us, or something that make started
        end_with(os.getppid())
    sys.exit(main(prog_name="python -m control"))
