"""Oracle: a server of the test's own, which serves, breaks off or lies, and files byte by byte."""

import hashlib
import http.server
import json
import re
import shutil
import socket
import sys
import threading
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from internals.atlas import book_run
from internals.book import Asset, Layout, assets_in, published_assets, seal, trainings_in
from internals.cli import app
from internals.data import download, load
from internals.errors import CheckpointError, InternalsError
from internals.training import find_recipe, load_tensors, plain, trained, weights_folder

pytestmark = pytest.mark.slow

RECORD = {
    "chapter": "01_lenet5", "key": "k", "source_key": "s", "machine": "m", "commit": "c",
    "environment": {"packages": {}, "data": {}, "python": "3.11"}, "profile": "smoke",
    "data": "embedded", "metrics": {}, "cells": [], "seconds": 1, "seed": 0,
    "when": "2026-11-29T00:00:00+00:00",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, list[Asset]]:
    """A folder of weights, and what an execution that used them notes."""
    build = tmp_path_factory.mktemp("maker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERNALS_BUILD", str(build))
        patch.setenv("INTERNALS_CORES", "1")
        patch.setenv("INTERNALS_WEIGHTS_NOTE", str(build / "note"))
        run = trained(find_recipe("lenet5", "smoke"), load("mnist", "embedded"))
        again = trained(find_recipe("lenet5", "smoke"), load("mnist", "embedded"))
    assert run.folder == again.folder
    return run.folder, assets_in(build / "note")


def test_the_record_tells_how_the_networks_were_trained(made):
    """Beside the weights' own file, read by the package that trained them."""
    folder, _ = made
    (training,) = trainings_in(folder.parent.parent / "note")
    provenance = load_tensors(folder / "weights.safetensors")[1]["provenance"]
    assert training.pop("folder") == folder.name
    assert training == {name: provenance[name] for name in training}
    recipe = find_recipe("lenet5", "smoke")
    assert training["recipe"] == json.loads(json.dumps(plain(recipe)))
    assert training["epochs"] == recipe.epochs_on(640)  # of the digits it takes so many
    told = {"seconds", "metrics", "machine", "versions", "weights_sha256", "seed", "best_epoch"}
    assert told < set(training) and "images" not in training
    assert trainings_in(folder / "nowhere") == []


@pytest.fixture
def edition(tmp_path, monkeypatch, no_real_data, made) -> Path:
    """The folder of a published chapter whose record names the weights."""
    folder = tmp_path / "book" / "chapters" / "edition" / "01_lenet5"
    folder.mkdir(parents=True)
    monkeypatch.setenv("INTERNALS_BOOK", str(tmp_path / "book"))
    monkeypatch.setenv("INTERNALS_CORES", "1")
    monkeypatch.setattr(download, "PATIENCE", 1.0)
    publish(folder, made[1])
    return folder


def publish(folder: Path, assets: list[Asset]) -> None:
    (folder / "run.json").unlink(missing_ok=True)
    seal(folder, {**RECORD, "weights": [asdict(asset) for asset in assets]})


@pytest.fixture
def release(tmp_path, edition, made) -> Path:
    """The folder that `pack` made, on a machine that has no weights afterwards."""
    place = tmp_path / "build" / "weights" / made[0].name
    shutil.copytree(made[0], place)
    assert weights("pack", "--out", str(tmp_path / "release")).exit_code == 0
    shutil.rmtree(tmp_path / "build")
    return tmp_path / "release"


@contextmanager
def serving(folder: Path, spoil=None):
    """The folder's files, with ranges; `spoil(handler, content)` may answer in their place."""
    asked: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def do_GET(self):
            asked.append(self.headers["Range"])
            path = folder / self.path.strip("/")
            if not path.is_file():
                self.send_error(404)
                return
            content = path.read_bytes()
            if spoil and spoil(self, content):
                return
            first = int((self.headers["Range"] or "bytes=0-")[6:-1])
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            self.wfile.write(content[first:])

        def log_message(self, *_):
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def weights(*words: str):
    return CliRunner().invoke(app, ["weights", *words], catch_exceptions=True)


def refused(done) -> str:
    assert isinstance(done.exception, InternalsError), (done.output, done.exception)
    assert "\n" not in str(done.exception)
    return str(done.exception)


def test_what_an_execution_used_is_noted_once_with_its_sums(made):
    folder, assets = made
    assert [asset.file for asset in assets] == ["test.safetensors", "weights.safetensors"]
    for asset in assets:
        content = (folder / asset.file).read_bytes()
        assert (asset.network, asset.folder, asset.bytes) == ("lenet5", folder.name, len(content))
        assert asset.sha256 == hashlib.sha256(content).hexdigest()


def test_packed_files_are_named_by_network_and_sum_and_listed(tmp_path, edition, made, release):
    _, assets = made
    names = {f"lenet5-{Path(a.file).stem}-{a.sha256[:16]}.safetensors" for a in assets}
    assert {path.name for path in release.iterdir()} == {*names, "SHA256SUMS"}
    for line in (release / "SHA256SUMS").read_text().splitlines():
        stated, name = line.split("  ")
        assert hashlib.sha256((release / name).read_bytes()).hexdigest() == stated
        names.remove(name)
    assert not names


def test_packed_and_fetched_the_run_of_the_book_is_found(edition, made, release):
    with pytest.raises(CheckpointError, match="is not trained"):
        book_run("lenet5", "smoke", "embedded")
    with serving(release) as (address, _):
        done = weights("fetch", "lenet5", "--from", address + "/")
    assert done.exit_code == 0, done.exception
    assert "internals project lenet5" in done.stdout and "--profile smoke" in done.stdout
    run, splits = book_run("lenet5", "smoke", "embedded")
    own = trained(find_recipe("lenet5", "smoke"), splits, folder=made[0])
    for name, tensor in own.model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], tensor, rtol=0, atol=0)
    assert run.test.numbers() == own.test.numbers()
    assert trained(find_recipe("lenet5", "smoke"), splits).folder == run.folder
    assert run.folder.parent.name == "fetched"


def test_of_another_copy_of_the_data_it_is_looked_into_and_never_taken_for_ones_own(
    edition, made, release, capsys, monkeypatch
):
    with serving(release) as (address, _):
        assert weights("fetch", "lenet5", "--from", address).exit_code == 0
    recipe, splits = find_recipe("lenet5", "smoke"), load("mnist", "embedded")
    other = splits._replace(train=replace(splits.train, fingerprint="another copy"))
    # The package of this name has the function in the module's place.
    monkeypatch.setattr(sys.modules["internals.data.load"], "load", lambda *_, **__: other)
    run, read = book_run("lenet5", "smoke", "embedded")
    assert read is other and run.folder.name == made[0].name
    assert run.test.numbers() == trained(recipe, splits).test.numbers()
    assert "lenet5: as fetched, trained on another copy of digits train" in capsys.readouterr().err
    assert weights_folder(recipe, other, 0, run.provenance.compute).name != run.folder.name


def test_the_record_names_the_address(edition, made, release):
    with serving(release) as (address, asked):
        publish(edition, [replace(a, address=f"{address}/{a.name}") for a in made[1]])
        assert weights("fetch", "lenet5").exit_code == 0
        assert asked == [None, None]
        assert weights("fetch", "lenet5").exit_code == 0  # it is here already
        assert asked == [None, None]


def test_without_an_address_one_is_asked_for(edition, monkeypatch):
    monkeypatch.setattr("internals.book.weights.repository", lambda: "")
    assert "names no address" in refused(weights("fetch", "lenet5"))


@pytest.mark.parametrize("with_ranges", [True, False])
def test_a_transfer_that_broke_off_is_gone_on_with(tmp_path, made, release, with_ranges):
    def half(handler, content):
        if handler.headers["Range"] is not None or "-test-" in handler.path:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:100_000])
        return True

    def whole(handler, content):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content)
        return True

    with serving(release, half) as (address, _):
        broken = refused(weights("fetch", "lenet5", "--from", address))
    assert "broke off after 100,000 of" in broken and "goes on from there" in broken
    assert not list(tmp_path.joinpath("build").rglob("weights.safetensors"))
    with serving(release, None if with_ranges else whole) as (address, asked):
        assert weights("fetch", "lenet5", "--from", address).exit_code == 0
    assert asked == ["bytes=100000-"]
    folder = tmp_path / "build" / "weights" / "fetched" / made[0].name
    assert {path.name for path in folder.iterdir()} == {a.file for a in made[1]}
    for asset in made[1]:
        assert (folder / asset.file).read_bytes() == (made[0] / asset.file).read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda right: right[:-1] + bytes([right[-1] ^ 1]), "its SHA-256 is"),
        (lambda right: right + b"x" * 9, ""),
        (lambda right: b"<html>Log in</html>".ljust(len(right)), "a web page"),
        (lambda right: right[:-50_000], "broke off after"),
    ],
    ids=["another byte", "longer", "page", "shorter"],
)
def test_other_bytes_than_those_named_are_refused(tmp_path, release, content, message):
    for path in release.glob("*.safetensors"):
        path.write_bytes(content(path.read_bytes()))
    with serving(release) as (address, _):
        done = weights("fetch", "lenet5", "--from", address)
    if message:
        assert message in refused(done)
        assert not list(tmp_path.joinpath("build").rglob("*.safetensors"))
    else:  # no more is read than the record names
        assert done.exit_code == 0


def test_a_release_that_lacks_the_file_says_so(edition, release, tmp_path):
    with serving(tmp_path / "book") as (address, _):
        done = weights("fetch", "lenet5", "--from", address)
    assert re.search(r"lenet5-test-\w{16}.safetensors cannot be downloaded: 404 Not", refused(done))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:{port}", "cannot be downloaded: Connection refused"),
        ("file:///etc", "is no http or https address"),
        ("somewhere", "is no http or https address"),
    ],
)
def test_a_host_that_is_not_there_is_one_line(edition, address, message):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    done = weights("fetch", "lenet5", "--from", address.format(port=port))
    assert message in refused(done)


def test_a_host_that_stops_in_the_middle_is_not_waited_for(edition, release):
    awake = threading.Event()

    def stall(handler, content):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content[:10])
        handler.wfile.flush()
        awake.wait(20)
        return True

    with serving(release, stall) as (address, _):
        done = weights("fetch", "lenet5", "--from", address)
        awake.set()
    assert "(no answer within 1 s); the same command goes on" in refused(done)


@pytest.mark.parametrize("command", [("fetch",), ("pack", "--out", "out")])
def test_an_unknown_network_has_its_nearest_named(edition, command):
    done = weights(*command, "lenet")
    assert refused(done) == "no published network 'lenet'; did you mean lenet5?"


def test_an_edition_that_names_no_weights_says_how_they_come_to_be_named(edition):
    for record in (RECORD, {**RECORD, "weights": []}):
        (edition / "run.json").unlink()
        seal(edition, record)
        assert "names the weights that it used" in refused(weights("fetch", "lenet5"))


def test_what_is_missing_or_other_is_not_packed_and_the_command_that_makes_it_is_named(
    tmp_path, edition, made
):
    remedy = (
        "`internals execute 01_lenet5 --profile smoke --data embedded --seed 0 --publish --force`"
    )
    message = refused(weights("pack", "--out", str(tmp_path / "out")))
    assert "does not exist; " + remedy in message and made[0].name in message
    place = tmp_path / "build" / "weights" / made[0].name
    shutil.copytree(made[0], place)
    with (place / "weights.safetensors").open("r+b") as file:
        file.write(b"x")
    message = refused(weights("pack", "--out", str(tmp_path / "out")))
    assert "weights.safetensors is not what the edition names; " + remedy in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../../evil.safetensors"},
        {"folder": "../lenet5"},
        {"network": "/tmp/lenet5"},
        {"sha256": "ab"},
        {"bytes": "9"},
        {"address": None},
    ],
)
def test_a_record_cannot_lead_out_of_the_folder_of_weights(edition, made, change):
    odd = {**asdict(made[1][0]), **change}
    (edition / "run.json").unlink()
    seal(edition, {**RECORD, "weights": [odd]})
    assert "01_lenet5/run.json names odd weights" in refused(weights("fetch", "lenet5"))


def test_the_record_of_a_chapter_that_two_use_is_one_asset(edition, made):
    second = edition.with_name("10_side_by_side")
    second.mkdir()
    elsewhere = [replace(asset, address="https://elsewhere.example/a") for asset in made[1]]
    seal(second, {**RECORD, "chapter": "10_side_by_side", "weights": [*map(asdict, elsewhere)]})
    assert list(published_assets(Layout.here())) == made[1]
    assert json.loads((second / "run.json").read_text())["weights"][0]["network"] == "lenet5"


def test_two_chapters_that_used_different_files_of_one_name_are_told_to_agree(edition, made):
    second = edition.with_name("10_side_by_side")
    second.mkdir()
    others = [replace(asset, sha256="0" * 64) for asset in made[1]]
    record = {**RECORD, "chapter": "10_side_by_side", "weights": [*map(asdict, others)]}
    seal(second, record)
    message = refused(weights("fetch", "lenet5"))
    assert f"names two files {made[0].name}/test.safetensors; `internals execute 01_le" in message
    assert "or `internals execute 10_side_by_side " in message


CHAPTER = """\
# ---
# title: Trained
# description: A network that is trained.
# data: mnist
# ---

# %% [markdown]
# # Trained

# %%
from internals.book import open_chapter
from internals.data import load
from internals.training import find_recipe, trained

chapter = open_chapter()
run = trained(find_recipe("lenet5", chapter.profile), load("mnist", chapter.data))
"""


def test_an_executed_chapter_records_the_weights_that_it_used(tmp_path, monkeypatch, no_real_data):
    monkeypatch.setenv("INTERNALS_BOOK", str(tmp_path / "book"))
    monkeypatch.setenv("INTERNALS_CORES", "1")
    (tmp_path / "book" / "chapters").mkdir(parents=True)
    (tmp_path / "book" / "chapters" / "01_train.py").write_text(CHAPTER)
    words = "execute --profile smoke --data embedded --publish".split()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    [folder] = (tmp_path / "build" / "weights").iterdir()
    for asset in published_assets(Layout.here(), ["lenet5"]):
        content = (folder / asset.file).read_bytes()
        assert (asset.folder, asset.bytes) == (folder.name, len(content))
        assert asset.sha256 == hashlib.sha256(content).hexdigest()
    assert weights("pack", "--out", str(tmp_path / "release")).exit_code == 0
