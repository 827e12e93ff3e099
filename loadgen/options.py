"""Our options beside Locust's own, and what they resolve to: checked, every problem at once.

Each option has a variable; `.env` is read for both these and the settings. `--profile` is Locust's, so ours is
`--load-profile`.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from config.errors import ConfigError, collect
from config.numbers import MAX_SEED, number, whole_number
from config.profile_files import DEFAULT_MAX_IN_FLIGHT, load_profile
from config.profiles import EVEN, Profile, Stage
from config.settings import Settings, host_of, is_loopback, load_settings
from loadgen.api_access import access_problems
from loadgen.custom_files import Custom, load_custom
from loadgen.custom_flow import FLOW as CUSTOM
from loadgen.invocation import AS_IS, Invocation
from loadgen.publishing import MAX_BATCH

if TYPE_CHECKING:
    # Importing Locust patches the whole process; nothing here needs it.
    from locust import User
    from locust.argument_parser import LocustArgumentParser

ADHOC = "adhoc"
LOOPBACK = "127.0.0.1"


def add_options(parser: LocustArgumentParser) -> None:
    """Add our options to Locust's. Values stay text until `resolve` checks them all together."""
    found = {name: value for name, value in dotenv_values(".env", interpolate=False).items() if value}
    group = parser.add_argument_group(
        "Swarmscope options",
        "Which load profile to run against what, and where runs go. The web UI listens on 127.0.0.1 unless --web-host "
        "says otherwise; --web-login takes WEB_USER and WEB_PASSWORD from the environment",
    )
    # Who reaches the web UI can send load: Locust's own default is every interface.
    parser.set_defaults(web_host=LOOPBACK)
    for flag, variable, metavar, text in (
        ("--load-profile", "PROFILE", "<name>", "Load profile: a name below config/profiles, or a path to a TOML file"),
        ("--flows", "FLOW", "<flows>", "Flows to run, separated by commas; without it, those of the profile"),
        ("--target", "TARGET", "<target>", "sandbox (default), aws or emulator"),
        ("--scale", "SCALE", "<factor>", "Multiplies users, arrival rates and spawn rates of the profile"),
        ("--time-scale", "TIME_SCALE", "<factor>", "Multiplies stages, warm-up and windows, never think time"),
        ("--rate", "RATE", "<per second>", "Without a profile: each user stands for so many arrivals a second"),
        ("--messages", "MESSAGES", "<count>", "Messages of a profile that counts them (smoke, perf)"),
        ("--results-share", "RESULTS_SHARE", "<0 to 1>", "Share of a vote user's requests that read the tally"),
        ("--shop-id", "SHOP_ID", "<id>", "The one shop that all sales go to; without it, they are spread over 100"),
        ("--invocation-type", "INVOCATION_TYPE", "<type>", "Flow direct: RequestResponse (default), Event or DryRun"),
        (
            "--qualifier",
            "QUALIFIER",
            "<name>",
            "Flow direct: version or alias; blue,green: both in turns; default $LATEST",
        ),
        (
            "--log-type",
            "LOG_TYPE",
            "<type>",
            "Flow direct: None (default) or Tail, the end of the log with each answer",
        ),
        ("--event-batch", "EVENT_BATCH", "<count>", "Flow events: messages in one call, 1 (default) to 10"),
        ("--poison-share", "POISON_SHARE", "<0 to 1>", "Share of the events that their consumer fails on"),
        ("--custom-flow", "CUSTOM_FLOW", "<path>", "Flow custom: the TOML file that says what to send"),
        ("--seed", "SEED", "<number>", "Seed of payloads and waits; without it, a new one each run"),
        (
            "--rebalancing",
            "REBALANCING",
            "<on|off>",
            "Distributed: others take over the users of a lost worker, and one that joins gets its share; default: on",
        ),
        ("--run-id", "RUN_ID", "<id>", "Name of the run's directory; without it, <UTC time>-<profile>"),
        ("--runs-dir", "RUNS_DIR", "<path>", "Where runs are kept; default: runs"),
        (
            "--live-cloudwatch",
            "LIVE_CLOUDWATCH",
            "<on or off>",
            "Whether the web UI asks CloudWatch while a run goes, which AWS bills; default: off",
        ),
    ):
        group.add_argument(flag, env_var=variable, metavar=metavar, help=text, default=found.get(variable))


@dataclass(frozen=True)
class Chosen:
    """What the options and settings come to."""

    settings: Settings
    profile: Profile | None
    """None for a run without one: Locust's own options then say how much load."""
    flows: Mapping[str, float] | None
    """Flow -> share of the users; None: every user class, with its own weight."""
    runs_dir: Path
    run_id: str | None
    seed: int | None
    results_share: float
    shop_id: str | None
    rate_per_user: float | None = None
    """Arrivals a second for each user of a run without a profile; None: its users wait for their answers."""
    invocation: Invocation = AS_IS
    event_batch: int = 1
    poison_share: float = 0.0
    rebalancing: bool = True
    """Whether users move to other workers when one is lost or joins."""
    custom_flow: Path | None = None
    """The file of flow `custom`; None where none is named."""
    custom: Custom | None = None
    """What is in it, once it is known that the flow runs."""

    @property
    def functions(self) -> Mapping[str, str]:
        """Logical name -> function, as far as variables and the flow `custom` name them."""
        known = self.settings.functions
        return known if self.custom is None else self.custom.flow.with_functions(known)


def read_settings(options: Namespace) -> Settings:
    """The settings, with the target that the options say. Raises ConfigError.

    A host on another machine given with `-H`, while nothing says what the target is, means `aws`: what is measured
    there is no simulation.
    """
    settings = load_settings(_with_target(options.target))
    explicit = "target" in settings.model_fields_set
    if not explicit and options.host and not is_loopback(host_of(options.host)):
        settings = load_settings(_with_target("aws"))
    return settings


def resolve(options: Namespace) -> Chosen:
    """Check everything that does not depend on the user classes. Raises ConfigError with every problem."""
    problems: list[str] = []
    settings = collect(problems, lambda: read_settings(options))
    scale = number(problems, "SCALE", options.scale, 1.0)
    time_scale = number(problems, "TIME_SCALE", options.time_scale, 1.0)
    results_share = _share(problems, "RESULTS_SHARE", options.results_share)
    poison_share = _share(problems, "POISON_SHARE", options.poison_share)
    event_batch = whole_number(problems, "EVENT_BATCH", options.event_batch, least=1, most=MAX_BATCH) or 1
    invocation = AS_IS
    try:
        invocation = Invocation(
            options.invocation_type or "RequestResponse", options.qualifier or None, options.log_type or "None"
        )
    except ValueError as unknown:
        problems.append(f"INVOCATION_TYPE, LOG_TYPE: {unknown}")
    messages = whole_number(problems, "MESSAGES", options.messages, least=1)
    seed = whole_number(problems, "SEED", options.seed, least=0, most=MAX_SEED)
    profile = None
    flows: Mapping[str, float] | None = None
    if options.load_profile:
        profile = collect(
            problems,
            lambda: load_profile(
                options.load_profile,
                scale=scale,
                time_scale=time_scale,
                flows=options.flows or None,
                messages=messages,
            ),
        )
        if profile is not None:
            flows = profile.flows
    elif options.flows:
        flows = dict.fromkeys(options.flows.replace(",", " ").split(), 1.0)
        if not flows:
            problems.append(f"FLOW: {options.flows!r} names no flow")
    rate_per_user = _rate_per_user(problems, options)
    problems += _useless_without_profile(options)
    if settings is not None and settings.max_users is not None:
        users = profile.peak_users if profile is not None else options.num_users
        if users is not None and users > settings.max_users:
            what = (
                "users" if profile is None or profile.model == "closed" else "open requests a process (max_in_flight)"
            )
            problems.append(f"MAX_USERS: {users} {what} asked for, {settings.max_users} allowed")
    if settings is not None:
        problems += access_problems(settings)
    if options.rebalancing not in (None, "", "on", "off"):
        problems.append(f"REBALANCING: {options.rebalancing!r} is neither on nor off")
    if problems or settings is None:
        raise ConfigError(problems)
    return Chosen(
        settings=settings,
        profile=profile,
        flows=flows,
        rate_per_user=rate_per_user,
        runs_dir=Path(options.runs_dir) if options.runs_dir else settings.runs_dir,
        run_id=options.run_id or None,
        seed=seed,
        results_share=results_share if profile is None or options.results_share else profile.results_share,
        shop_id=options.shop_id or None,
        invocation=invocation,
        event_batch=event_batch,
        custom_flow=Path(options.custom_flow) if options.custom_flow else None,
        poison_share=poison_share if profile is None or options.poison_share else profile.poison_share,
        rebalancing=options.rebalancing != "off",
    )


def choose_user_classes(weights: Mapping[type[User], float], flows: Mapping[str, float]) -> dict[type[User], float]:
    """The user classes of the flows asked for, each with the weight that gives its flow its share of the users.

    `weights` are the classes' own: several classes of one flow split its share by them. Raises ConfigError for a flow
    without a class.
    """
    by_flow: dict[str, list[type[User]]] = {}
    for user_class in weights:
        by_flow.setdefault(getattr(user_class, "flow", ""), []).append(user_class)
    if missing := [flow for flow in flows if flow not in by_flow]:
        loaded = ", ".join(sorted(flow for flow in by_flow if flow)) or "none"
        raise ConfigError(
            f"FLOW: no user class for {', '.join(missing)} among the locustfiles given (flows there: {loaded}); "
            "use -f locustfiles for all, or choose with --flows"
        )
    return {
        user_class: share * weights[user_class] / sum(weights[other] for other in by_flow[flow])
        for flow, share in flows.items()
        for user_class in by_flow[flow]
    }


def flow_shares(weights: Mapping[type[User], float]) -> dict[str, float]:
    """Flow -> its share of the users, by the weights of the user classes; a class of no flow is one by its name."""
    shares: dict[str, float] = {}
    for user_class, weight in weights.items():
        flow = getattr(user_class, "flow", "") or user_class.__name__
        shares[flow] = shares.get(flow, 0.0) + weight
    total = sum(shares.values())
    return {flow: weight / total for flow, weight in shares.items()}


def with_custom(chosen: Chosen, classes: Iterable[type[User]]) -> Chosen:
    """The same with the files of flow `custom` read, where one of the user classes is its. Raises ConfigError."""
    if CUSTOM not in {getattr(user_class, "flow", "") for user_class in classes}:
        return chosen
    if chosen.custom_flow is None:
        raise ConfigError("CUSTOM_FLOW: not set; flow custom needs its TOML file (docs/custom-flow.md)")
    return replace(chosen, custom=load_custom(chosen.custom_flow))


def adhoc_profile(options: Namespace, flows: Mapping[str, float], chosen: Chosen) -> Profile:
    """What a run without a profile amounts to: no think time, one stage, and the open model where a rate is given.

    MAX_USERS then limits what users are in the closed model, too: open requests.
    """
    rate_per_user = chosen.rate_per_user
    most_in_flight = min(DEFAULT_MAX_IN_FLIGHT, chosen.settings.max_users or DEFAULT_MAX_IN_FLIGHT)
    users = options.num_users or 1
    return Profile(
        name=ADHOC,
        description="Locust's own options",
        flows=flows,
        model="closed" if rate_per_user is None else "open",
        think_time_s=None,
        pacing_s=None,
        warmup_s=0.0,
        stages=(Stage(duration_s=float(options.run_time or 0), users=users, spawn_rate=options.spawn_rate or 1.0),),
        messages=None,
        results_share=0.0,
        poison_share=0.0,
        chain_limit_s=60.0,
        thresholds=(),
        scale=1.0,
        time_scale=1.0,
        arrivals=None if rate_per_user is None else EVEN,
        max_in_flight=None if rate_per_user is None else most_in_flight,
        rate_per_user=rate_per_user,
    )


def new_seed() -> int:
    return SystemRandom().getrandbits(32)


def _with_target(target: str | None) -> dict[str, str]:
    return {**os.environ, "TARGET": target} if target else dict(os.environ)


def _rate_per_user(problems: list[str], options: Namespace) -> float | None:
    if not options.rate:
        return None
    rate = number(problems, "RATE", options.rate, 1.0)
    if options.load_profile:
        problems.append("RATE: it is for runs without a profile; SCALE multiplies the arrival rates of a profile")
    elif not 0 < rate < float("inf"):
        problems.append(f"RATE: {options.rate!r} is not a number above 0")
    return rate


def _useless_without_profile(options: Namespace) -> Iterator[str]:
    """What would be passed over in silence; the web UI's form may still choose a profile."""
    if options.headless and not options.load_profile:
        given = {"SCALE": options.scale, "TIME_SCALE": options.time_scale, "MESSAGES": options.messages}
        for variable, text in given.items():
            if text:
                yield f"{variable}: it is for profiles, and none is chosen (PROFILE)"


def _share(problems: list[str], variable: str, text: str | None) -> float:
    share = number(problems, variable, text, 0.0)
    if not 0 <= share <= 1:
        problems.append(f"{variable}: {text!r} is not between 0 and 1")
    return share
