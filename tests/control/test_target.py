import pytest

from config.settings import settings_from
from control import target


class NewSandbox:
    """Takes the place of the process: nothing is asked of it here."""

    endpoint = "http://127.0.0.1:9"

    @classmethod
    def start(cls, log, options=()):
        return cls()

    def stop(self):
        pass


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"API_BASE_URL": "https://api.example.com/prod", "VOTE_FUNCTION": "vote", "LOG_GROUPS": "/a"},
            [
                "not used, for they name nothing in this sandbox: API_BASE_URL, LOG_GROUPS, VOTE_FUNCTION; "
                "TARGET=aws uses them"
            ],
        ),
        ({"STACK_NAME": "load"}, []),
    ],
)
def test_a_sandbox_of_its_own_says_which_resources_it_does_not_use(variables, said, tmp_path, monkeypatch):
    monkeypatch.setattr(target, "SandboxProcess", NewSandbox)
    lines = []
    with target.reachable_target(settings_from(variables), tmp_path, lines.append, private=True) as settings:
        assert (settings.api_base_url, settings.functions, settings.log_groups) == (None, {}, ())
    assert lines[1:] == said
