"""Our fields in the start form of Locust's web UI: profile, flows, target, scale, time scale, rate.

Locust shows them under "Custom parameters" and posts them to `/swarm` with its own. Before it sees them, everything is
checked as on the command line and set for the run; a mistake comes back as a message in the form, and nothing starts.

The target is shown and cannot be changed: it decides about credentials, here and in every worker, and about the hosts
that load may go to.
"""

from __future__ import annotations

import logging
import math
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, make_response, request
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING
from locust.web import WebUI
from werkzeug.datastructures import MultiDict

from config.errors import ConfigError
from config.profile_files import profile_names
from config.timespans import parse_timespan
from loadgen.run_setup import RunSetups
from loadgen.session import RecordingSession

logger = logging.getLogger(__name__)

NO_PROFILE = "none"
"""In the select box: users, spawn rate and run time are Locust's own fields."""
HELP = {
    "load_profile": "says how many users, and how long; none: users, ramp up and run time above do",
    "flows": "separated by commas; empty: those of the profile; there are {flows}",
    "target": "set when Locust is started: credentials and allowed hosts hang on it",
    "scale": "multiplies users, arrival rates and spawn rates of the profile",
    "time_scale": "multiplies stages and warm-up of the profile",
    "rate": "without a profile: each user stands for so many arrivals a second",
}
"""Our fields by the names of their options, in the order of the form."""
LOCUST_FIELDS = frozenset({"user_count", "spawn_rate", "host", "run_time", "profile", "user_classes", "shape_class"})


class StartForm:
    """The form of one process, and what it comes to."""

    def __init__(self, environment: Environment, web_ui: WebUI, session: RecordingSession, setups: RunSetups) -> None:
        """Reads what Locust was started with: its values fill the form, and stand for what a request leaves out."""
        self._environment = environment
        self._web_ui = web_ui
        self._session = session
        self._setups = setups
        # A copy: Locust writes what is posted into its own.
        self._options = Namespace(**vars(environment.parsed_options or Namespace()))
        self._options.target = session.chosen.settings.target
        self._started_with = {name: getattr(self._options, name) or "" for name in HELP}
        self._started_with["load_profile"] = self._started_with["load_profile"] or NO_PROFILE
        self._values = self._started_with
        self._own_template_args = web_ui.update_template_args

    def attach(self) -> None:
        """Let Locust show our fields, and ask us before it takes a form."""
        assert self._web_ui.app is not None
        self._web_ui.update_template_args = self._update_template_args  # type: ignore[method-assign]
        self._web_ui.app.before_request(self._before_request)
        # The fields come in the order in which they stand here.
        self._web_ui.app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}

    def fields(self) -> dict[str, dict[str, Any]]:
        """Our fields as Locust's template takes them, with the values that the last run had."""
        profiles = [NO_PROFILE, *profile_names()]
        if (given := self._started_with["load_profile"]) not in profiles:
            profiles.append(given)
        choices = {"load_profile": profiles, "target": [self._values["target"]]}
        return {
            name: {
                "default_value": self._values[name],
                "is_secret": False,
                "is_required": False,
                "help_text": text.format(flows=", ".join(self._setups.flows)),
                "is_multiple": False,
                "choices": choices.get(name),
            }
            for name, text in HELP.items()
        }

    def _update_template_args(self) -> None:
        self._own_template_args()
        others = self._web_ui.template_args["extra_options"]
        self._web_ui.template_args["extra_options"] = {**self.fields(), **others}

    def _before_request(self) -> Response | None:
        """None lets Locust go on."""
        views = {"locust.swarm": self._take, "locust.update_user": self._change_user}
        view = views.get(request.endpoint or "") if request.method == "POST" else None
        refused: Response | None = None if view is None else self._web_ui.auth_required_if_enabled(view)()
        return refused

    def _take(self) -> Response | None:
        try:
            self._check_fields(request.form)
            values = {name: request.form.get(name, self._started_with[name]).strip() for name in HELP}
            if self._session.running:
                self._check_edit(values, request.form)
            else:
                self._set_up(values, request.form)
        except ConfigError as refused:
            logger.warning(f"Not started: {refused}")
            return jsonify({"success": False, "message": str(refused), "host": self._environment.host})
        return None

    def _check_fields(self, form: MultiDict[str, str]) -> None:
        """Locust would take any of its options, such as those that name files."""
        self._web_ui.update_template_args()
        known = LOCUST_FIELDS | self._web_ui.template_args["extra_options"].keys()
        if unknown := sorted(set(form) - known):
            raise ConfigError(f"the form has no field {', '.join(unknown)}")

    def _set_up(self, values: dict[str, str], form: MultiDict[str, str]) -> None:
        profile = "" if values["load_profile"] == NO_PROFILE else values["load_profile"]
        if profile not in ("", self._started_with["load_profile"], *profile_names()):
            raise ConfigError(
                f"PROFILE: no profile {profile!r} in this form; a file of yours is given when Locust is started"
            )
        if values["target"] != self._options.target:
            raise ConfigError(
                f"TARGET: this Locust was started for {self._options.target}; for {values['target']} start another"
            )
        if self._web_ui.userclass_picker_is_active and (profile or values["flows"]):
            raise ConfigError("PROFILE, FLOW: with --class-picker the user classes are chosen above; leave these empty")
        options = Namespace(**vars(self._options) | values | {"load_profile": profile} | _users(form) | _run_time(form))
        setup = self._setups.check(
            options, self._host(form), host_needed=True, picked=set(form.getlist("user_classes"))
        )
        self._setups.apply(setup)
        self._session.chosen = setup.chosen
        self._values = values

    def _check_edit(self, values: Mapping[str, str], form: MultiDict[str, str]) -> None:
        """While a run goes its number of users may be changed, and nothing else."""
        assert self._environment.runner is not None
        chosen = self._session.chosen
        if self._environment.runner.state not in (STATE_SPAWNING, STATE_RUNNING):
            raise ConfigError("the last run has not ended yet: its open requests may finish")
        if chosen.profile is not None:
            raise ConfigError(f"PROFILE: {chosen.profile.name} says how many users there are; stop the run first")
        changed = [name for name, value in values.items() if name in form and value != self._values[name]]
        if "host" in form and self._host(form) != self._environment.host:
            changed.append("host")
        if changed:
            raise ConfigError(f"{', '.join(changed)}: cannot be changed while a run goes; stop it first")
        limit, users = chosen.settings.max_users, _users(form).get("num_users", 0)
        if limit is not None and users > limit:
            raise ConfigError(f"MAX_USERS: {users} users asked for, {limit} allowed")

    def _host(self, form: MultiDict[str, str]) -> str | None:
        """As Locust will read it."""
        return form.get("host", self._environment.host or "").replace("<", "").replace(">", "") or None

    def _change_user(self) -> Response:
        """`/user` as Locust has it sets any attribute of a user class, unchecked, the host too: what decides where its
        users send must stay.
        """
        change = request.get_json(force=True, silent=True)
        classes = self._environment.available_user_classes or {}
        if isinstance(change, dict) and (user_class := classes.get(str(change.get("user_class_name")))) is not None:
            known = change.keys() <= {"user_class_name", *user_class.json()}
            # Locust's page sends what there was when it was loaded: before the first run most classes have no host.
            stays = (change.pop("host", None) or user_class.host) == user_class.host
            if known and stays and _is_number(change.get("weight", 1)) and _is_number(change.get("fixed_count", 0)):
                self._environment.update_user_class(change)
                return make_response({}, 201)
        return make_response("only weight, fixed count and tasks of a user class can be changed here", 400)


def _is_number(value: object) -> bool:
    """Whether a weight or a count may be this."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _users(form: MultiDict[str, str]) -> dict[str, int]:
    """The number of users, as Locust will read it; it complains about what is none."""
    try:
        return {"num_users": int(form.get("user_count", ""))}
    except ValueError:
        return {}


def _run_time(form: MultiDict[str, str]) -> dict[str, float | None]:
    """How long a run without a profile goes on, in seconds, None for as long as nobody stops it; it is Locust that
    complains about what is neither."""
    if "run_time" not in form:
        return {}
    try:
        return {"run_time": parse_timespan(form["run_time"]) or None}
    except ValueError:
        return {"run_time": None}
