"""Oracle: the account that the weights give of their own training, in the same record."""

import json
from typing import Any

import pytest

from internals.book import read_script, source_part
from internals.environment import ROOT
from internals.fingerprint import literal

SCRIPTS = {path.stem: path for path in sorted((ROOT / "chapters").glob("[0-9][0-9]_*.py"))}
MODULES = {
    name: entry[0] for name, entry in literal(ROOT / "internals/models/lookup.py", "MODELS").items()
}


def record_of(chapter: str) -> dict[str, Any]:
    return json.loads((ROOT / "chapters" / "edition" / chapter / "run.json").read_text())


@pytest.mark.parametrize("chapter", SCRIPTS)
def test_a_record_accounts_for_all_weights_that_its_chapter_used(chapter: str) -> None:
    record = record_of(chapter)
    accounts = {training["folder"]: training for training in record["trainings"]}
    assert set(accounts) == {asset["folder"] for asset in record["weights"]}
    for training in accounts.values():
        assert training["recipe"]["network"] == training["network"]
        assert training["epochs"] > 0 and training["seconds"] > 0
        assert training["machine"] and training["versions"]["torch"]
        assert len(training["weights_sha256"]) == 64


@pytest.mark.parametrize("chapter", SCRIPTS)
def test_the_score_of_a_page_is_that_of_its_weights(chapter: str) -> None:
    record = record_of(chapter)
    network = read_script(SCRIPTS[chapter]).meta.get("network")
    if network is None or "test_top1" not in record["metrics"]:
        assert chapter[:2] in {"00", "07", "08", "09", "10", "11"}
        return
    scores = {t["metrics"]["top1"] for t in record["trainings"] if t["network"] == network}
    assert record["metrics"]["test_top1"] in scores


@pytest.mark.parametrize("chapter", SCRIPTS)
def test_a_key_holds_every_network_whose_weights_were_used(chapter: str) -> None:
    reached = source_part(read_script(SCRIPTS[chapter]))["modules"]
    used = {training["network"] for training in record_of(chapter)["trainings"]}
    assert {MODULES[network] for network in used} <= set(reached)
