"""Who may use the web UI: `--web-login`, and no pages of other sites.

Not covered: how often somebody may try a password (each wrong one costs a second), and what goes over the wire: use
`--tls-cert` and `--tls-key`, or a proxy, wherever the web UI listens for other machines.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from urllib.parse import urlsplit

import gevent
from flask import Response, make_response, redirect, request, session, url_for
from flask_login import UserMixin, login_user
from locust.web import WebUI
from werkzeug.wrappers import Response as AnyResponse

from config.settings import Settings, is_loopback

logger = logging.getLogger(__name__)

WRONG_PASSWORD_DELAY_S = 1.0


class _User(UserMixin):
    """The one user there is."""

    id = "web"


def protect(web_ui: WebUI, settings: Settings) -> None:
    """Ask for the login where `--web-login` is given, and refuse requests that other sites make.

    Raises ConfigError where the login has no user name or no password.
    """
    assert web_ui.app is not None
    local = is_loopback(web_ui.host)
    if web_ui.web_login:
        _ask_for_login(web_ui, settings)
    elif not local:
        logger.warning(
            f"The web UI listens on {web_ui.host or 'all interfaces'} without a login: whoever reaches it can send "
            "load. Use --web-login, or leave --web-host at 127.0.0.1"
        )

    def refuse_other_sites() -> Response | None:
        return _refusal(only_loopback=local and not web_ui.web_login)

    web_ui.app.before_request(refuse_other_sites)


def _refusal(*, only_loopback: bool) -> Response | None:
    """Locust answers every site's scripts (CORS), which is too much for something that sends load.

    A browser says where a request comes from: with Sec-Fetch-Site where the page is one it trusts, else with Origin.
    A link from elsewhere may be followed, into a page of its own. `only_loopback`: no other name either, since another
    site's name may be made to lead to this machine ("DNS rebinding").
    """
    if only_loopback and not is_loopback(urlsplit(request.host_url).hostname):
        return make_response(f"This web UI is for this machine; as {request.host} it needs --web-login", 403)
    site = request.headers.get("Sec-Fetch-Site")
    if site is None:
        origin = request.headers.get("Origin")
        foreign = origin is not None and origin.partition("://")[2] != request.host
    else:
        foreign = site not in ("same-origin", "none")
    followed = (
        request.method == "GET"
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest", "document") == "document"
    )
    if foreign and not followed:
        return make_response("The request comes from another site", 403)
    return None


def _ask_for_login(web_ui: WebUI, settings: Settings) -> None:
    assert web_ui.app is not None
    user, password = settings.web_credentials()
    # Whoever is logged in is so until this process ends.
    web_ui.app.secret_key = secrets.token_bytes(32)
    web_ui.app.config.update(
        # Cookies are one machine's, not one port's: two web UIs would log each other out.
        SESSION_COOKIE_NAME=f"session-{web_ui.port}",
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=bool(web_ui.tls_cert),
    )
    base = web_ui.app.blueprints["locust"].url_prefix or ""
    web_ui.auth_args = {"username_password_callback": f"{base}/login/check"}
    web_ui.login_manager.user_loader(lambda user_id: _User() if user_id == _User.id else None)

    def check() -> AnyResponse:
        given = request.form.get("username", ""), request.form.get("password", "")
        same = [
            hmac.compare_digest(one.encode(), other.encode())
            for one, other in zip(given, (user, password), strict=True)
        ]
        if all(same):
            login_user(_User())
            return redirect(url_for("locust.index"))
        gevent.sleep(WRONG_PASSWORD_DELAY_S)
        logger.warning(f"Web UI: wrong user name or password, from {request.remote_addr}")
        session["auth_error"] = "Wrong user name or password"
        return redirect(url_for("locust.login"))

    web_ui.app.add_url_rule(f"{base}/login/check", "swarmscope_login", check, methods=["POST"])
