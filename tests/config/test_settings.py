import pytest

from config.aws import client, process_environment
from config.errors import ConfigError
from config.settings import load_settings, settings_from, shown_url


def test_the_real_environment_wins_over_the_file(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("STACK_NAME=from-file\nMAX_USERS=5\n")
    settings = load_settings({"STACK_NAME": "from-environment"}, dotenv)
    assert (settings.stack_name, settings.max_users) == ("from-environment", 5)


def test_an_empty_variable_counts_as_not_set(tmp_path):
    assert load_settings({"TARGET": ""}, tmp_path / "none").target == "sandbox"


def test_a_dollar_sign_in_a_secret_stays(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("API_KEY=a${B}c\n")
    assert load_settings({}, dotenv).api_key.get_secret_value() == "a${B}c"


def test_the_sandbox_sets_the_callers_aws_variables_aside():
    settings = settings_from(
        {"AWS_PROFILE": "prod", "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "https://lambda.eu-west-1.amazonaws.com"}
    )
    assert (settings.profile, settings.region, settings.endpoint_url) == (None, "us-east-1", "http://127.0.0.1:4566")


def test_the_sandbox_keeps_an_endpoint_on_the_loopback():
    assert settings_from({"AWS_ENDPOINT_URL": "http://localhost:9999"}).endpoint_url == "http://localhost:9999"


def test_a_client_for_the_sandbox_ignores_the_callers_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
    monkeypatch.setenv("AWS_PROFILE", "does-not-exist")
    made = client(settings_from({}), "sts")
    assert made._request_signer._credentials.access_key == "sandbox"
    assert made.meta.endpoint_url == "http://127.0.0.1:4566"


def test_a_process_for_the_sandbox_gets_no_variable_of_a_real_account():
    environment = process_environment(
        settings_from({}), {"AWS_SESSION_TOKEN": "real", "AWS_PROFILE": "prod", "PATH": "/bin"}
    )
    assert "real" not in environment.values()
    assert "AWS_PROFILE" not in environment
    assert environment["PATH"] == "/bin"


@pytest.mark.parametrize("target", ["sandbox", "aws"])
def test_a_process_gets_what_opens_an_api(target):
    given = {"API_AUTH": "bearer", "API_BEARER_COMMAND": "c", "API_BEARER_TOKEN": "t", "API_KEY": "k"}
    environment = process_environment(settings_from({"TARGET": target}), given)
    assert {name: environment[name] for name in given} == given


def test_a_process_for_aws_keeps_them():
    environment = process_environment(settings_from({"TARGET": "aws"}), {"AWS_PROFILE": "prod"})
    assert environment["AWS_PROFILE"] == "prod"


def test_every_problem_is_named_with_its_variable():
    with pytest.raises(ConfigError) as caught:
        settings_from({"TARGET": "moon", "MAX_USERS": "many", "API_BASE_URL": "ftp://x"})
    text = "\n".join(caught.value.problems)
    assert "TARGET: " in text
    assert "MAX_USERS: " in text
    assert "API_BASE_URL: " in text


def test_a_secret_never_stands_in_an_error_or_a_repr():
    with pytest.raises(ConfigError) as caught:
        settings_from({"API_KEY": "s3cret", "MAX_USERS": "s3cret-too"})
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(settings_from({"API_KEY": "s3cret"}))


@pytest.mark.parametrize("variables", [{}, {"API_BEARER_TOKEN": "t", "API_BEARER_COMMAND": "c"}])
def test_bearer_auth_needs_a_token_or_a_command(variables):
    with pytest.raises(ConfigError, match="API_BEARER_TOKEN, API_BEARER_COMMAND: one of them"):
        settings_from({"API_AUTH": "bearer"} | variables)


@pytest.mark.parametrize(
    "url", ["elsewhere", "https://", "ftp://host", "http://host:port", "http://a b", "http://h/?x"]
)
def test_an_endpoint_of_a_service_is_a_url(url):
    with pytest.raises(ConfigError, match=r"AWS_ENDPOINT_URL_LAMBDA .*not a URL such as"):
        settings_from({"TARGET": "aws", "AWS_ENDPOINT_URL_LAMBDA": url, "AWS_ENDPOINT_URL_LOGS": "https://host"})
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL: "):
        settings_from({"TARGET": "aws", "AWS_ENDPOINT_URL": url})


@pytest.mark.parametrize("variable", ["API_BASE_URL", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LAMBDA"])
@pytest.mark.parametrize("url", ["https://me:s3cret@host", "https://host/?key=s3cret", "https://me:s3cret@host:port"])
def test_a_url_with_a_password_or_a_key_is_refused_and_neither_is_shown(variable, url):
    with pytest.raises(ConfigError, match=variable) as caught:
        settings_from({"TARGET": "aws", variable: url})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("target", ["aws", "sandbox"])
def test_what_no_url_can_be_is_a_problem_and_no_exception(target):
    problems = {"API_BASE_URL": "http://[::1", "AWS_ENDPOINT_URL": "http://[::1"}
    with pytest.raises(ConfigError, match=r"API_BASE_URL: 'http://\[::1' is not a URL"):
        settings_from({"TARGET": target, **problems})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:8443/stage/a@b", "https://host:8443/stage/a@b"),
        ("https://me:secret@host/stage?key=1", "https://***@host/stage?***"),
        ("me:sec@ret@host", "***@host"),
        ("https://host#secret", "https://host#***"),
    ],
)
def test_urls_are_shown_without_their_secrets(url, shown):
    assert shown_url(url) == shown


def test_functions_come_by_logical_name():
    assert settings_from({"VOTE_FUNCTION": "prod-vote"}).functions == {"place-vote": "prod-vote"}


@pytest.mark.parametrize(
    ("variables", "host", "allowed"),
    [
        ({}, "127.0.0.1", True),
        ({}, "api.example.com", False),
        ({"API_BASE_URL": "https://api.example.com/prod"}, "api.example.com", False),
        ({"TARGET": "aws", "API_BASE_URL": "https://api.example.com/prod"}, "api.example.com", True),
        ({"TARGET": "aws", "API_BASE_URL": "https://api.example.com/prod"}, "other.example.com", False),
        ({"TARGET": "aws", "ALLOWED_HOSTS": "a.example.com, b.example.com"}, "b.example.com", True),
        ({"TARGET": "aws"}, None, False),
    ],
)
def test_load_goes_only_to_allowed_hosts(variables, host, allowed):
    assert settings_from(variables).host_allowed(host) is allowed


def test_simulated_means_not_aws():
    assert [
        settings_from({"TARGET": t, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}).simulated
        for t in ("sandbox", "emulator", "aws")
    ] == [True, True, False]
