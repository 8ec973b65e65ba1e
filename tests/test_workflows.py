"""Oracle: the command's own list of its options, and the workflows read as YAML."""

import shlex
from pathlib import Path

import pytest
import typer
import yaml

from internals.cli import app

FOLDER = Path(__file__).resolve().parent.parent / ".github" / "workflows"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
JOBS = [(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"]]


def _steps(name: str, job: str) -> list[dict]:
    return WORKFLOWS[name]["jobs"][job]["steps"]


def _commands(script: str) -> list[list[str]]:
    """The words of each call of the command in a step's script, without what sh reads."""
    calls = []
    for line in script.splitlines():
        _, found, rest = line.partition(".venv/bin/internals ")
        if found:
            words = shlex.split(rest.partition(" > ")[0].partition(")")[0])
            calls.append(words)
    return calls


def _unknown(words: list[str]) -> set[str]:
    """What in a call of the command is neither a sub-command nor an option of its own."""
    command = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return {words[0]}
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in command.params for name in parameter.opts}
    return {word for word in words if word.startswith("-")} - options


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_every_call_of_the_command_in_a_workflow_is_one_that_it_has(name, job):
    calls = [words for step in _steps(name, job) for words in _commands(step.get("run", ""))]
    assert [_unknown(words) for words in calls] == [set()] * len(calls)


def test_a_call_with_an_unknown_option_or_command_is_seen():
    assert _unknown(["execute", "--stael", "--profile", "quick"]) == {"--stael"}
    assert _unknown(["weights", "unpack"]) == {"unpack"}
    assert _commands("x=$(.venv/bin/internals execute --keys)") == [["execute", "--keys"]]


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_every_job_has_a_limit_and_rights_of_its_own_and_pins_what_it_uses(name, job):
    facts = WORKFLOWS[name]["jobs"][job]
    assert WORKFLOWS[name]["permissions"] == {} and facts["permissions"]
    assert facts["timeout-minutes"] > 0
    for step in facts["steps"]:
        action, _, version = step.get("uses", "a@" + "0" * 40).partition("@")
        assert len(version) == 40, action


def test_the_book_is_executed_on_push_weekly_and_by_hand_on_a_runner_of_ones_choice():
    triggers = {name: workflow[True] for name, workflow in WORKFLOWS.items()}  # YAML's `on`
    assert triggers["book.yml"]["push"] == {"branches": ["main"]}
    assert len(triggers["numbers.yml"]["schedule"]) == 1
    inputs = triggers["edition.yml"]["workflow_dispatch"]["inputs"]
    assert inputs.keys() == {"profile", "runner"}
    job = WORKFLOWS["edition.yml"]["jobs"]["execute"]
    assert job["runs-on"] == "${{ inputs.runner }}"
    calls = [words for step in job["steps"] for words in _commands(step.get("run", ""))]
    assert [words[0] for words in calls] == ["execute", "atlas", "live", "weights", "build"]
    # The machine of one's own never holds the right to write to the repository.
    assert job["permissions"] == {"contents": "read"}
