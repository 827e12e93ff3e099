"""`python -m sandbox`: a local AWS for load tests, on one port, until Ctrl-C."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from sandbox.faults import FaultsError, parse_faults
from sandbox.listening import PortTaken, is_loopback, listen
from sandbox.model.parameters import ParametersError, load_parameters
from sandbox.workplace import workplace

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4566, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option("--seed", default=1, show_default=True, help="Seed of every random choice of the model.")
@click.option("--model", type=_FILE, help="TOML with parameters of the model that are to be different.")
@click.option("--faults", type=_FILE, help="JSON with faults in force from the start.")
@click.option("--truth", type=click.Path(dir_okay=False, path_type=Path), help="Write truth.json here at the end.")
@click.option("--allow-remote", is_flag=True, help="Let --host be an address that other machines can reach.")
def main(
    host: str,
    port: int,
    seed: int,
    model: Path | None,
    faults: Path | None,
    truth: Path | None,
    allow_remote: bool,
) -> None:
    """A local AWS for load tests: every API on one endpoint, everything it reports is simulated.

    Prints one line with its endpoint when it is ready. Set AWS_ENDPOINT_URL to it, with any credentials.
    """
    if not is_loopback(host) and not allow_remote:
        raise click.UsageError(
            f"--host {host}: other machines could run code here through it; give --allow-remote if they may"
        )
    try:
        parameters = load_parameters(model)
        active = parse_faults(faults.read_bytes()) if faults else []
        listener = listen(host, port)
    except (ParametersError, FaultsError, PortTaken) as error:
        raise click.UsageError(str(error)) from error
    from sandbox import server  # takes a second or two: wrong usage is told before

    with workplace() as folder:
        tempfile.tempdir = str(folder)  # for the libraries, too
        server.serve(
            listener,
            parameters,
            seed=seed,
            faults=active,
            truth_file=truth,
            on_ready=lambda url: click.echo(f"sandbox ready at {url}"),
        )


if __name__ == "__main__":
    main(prog_name="python -m sandbox")
