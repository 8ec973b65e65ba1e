"""Oracle: steps counted, files compared byte by byte, runs that nobody interrupted."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from internals.data import InputMap, Splits, load
from internals.environment import ROOT
from internals.errors import CheckpointError, DataError, OutputError, TrainingError
from internals.models import build, pack_tensors
from internals.training import (
    SGD,
    AdamW,
    Batches,
    Compute,
    Constant,
    InputRange,
    Map,
    Run,
    RunFolder,
    adopt,
    hash_images,
    load_checkpoint,
    load_tensors,
    save_checkpoint,
    save_tensors,
    trained,
    weights_folder,
    weights_key,
)
from tests.reference.observed import Interrupted, interrupted, observed

pytestmark = pytest.mark.slow

FLOAT32 = Compute("cpu", "32-true", threads=1, processes=1)
DELETE = "delete it and it is made again"


@pytest.fixture
def steps():
    """The numbers of the steps that were really taken by `counted`."""
    return []


@pytest.fixture
def counted(tiny_recipe, steps):
    """The tiny recipe, with its steps counted."""
    optimizer = observed(tiny_recipe.optimizer, lambda step, model, inputs: steps.append(step))
    return replace(tiny_recipe, optimizer=optimizer)


def _interrupted(recipe, at):
    return replace(recipe, optimizer=interrupted(recipe.optimizer, at))


def _assert_same_bits(left: torch.nn.Module, right: torch.nn.Module) -> None:
    for (name, a), (_, b) in zip(
        left.state_dict().items(), right.state_dict().items(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)


def _assert_same_run(left: Run, right: Run) -> None:
    _assert_same_bits(left.model, right.model)
    assert left.history == right.history
    assert left.provenance == right.provenance
    assert left.pipeline.normalization == right.pipeline.normalization
    assert left.test.numbers() == right.test.numbers()
    for name in ("confusion", "predicted", "confidence"):
        np.testing.assert_array_equal(getattr(left.test, name), getattr(right.test, name))


def test_a_second_call_does_not_train(few, counted, steps, fabric, tmp_path):
    first = trained(counted, few, seed=2, fabric=fabric)
    assert steps == list(range(6))
    second = trained(counted, few, seed=2, fabric=fabric)
    assert steps == list(range(6))
    _assert_same_run(first, second)
    folder = tmp_path / "build" / "weights" / f"lenet5-{weights_key(counted, few, 2)}-cpu-32-1t"
    assert first.folder == second.folder == folder == weights_folder(counted, few, 2, FLOAT32)
    assert {p.name for p in folder.iterdir()} == {"weights.safetensors", "test.safetensors"}


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_that_torch_does_not_have_is_one_line(few, tiny_recipe, fabric, tmp_path, seed):
    with pytest.raises(TrainingError, match="is no seed of torch's; use 0 to 18446744073709551615"):
        trained(tiny_recipe, few, seed=seed, folder=tmp_path / "w", fabric=fabric)
    with pytest.raises(DataError, match="is no seed of torch's; use 0 to 18446744073709551615"):
        load("mnist", "embedded", seed=seed)
    assert not (tmp_path / "w").exists()


def test_provenance_says_what_was_done(few, tiny_recipe, fabric, tmp_path):
    run = trained(tiny_recipe, few, seed=2, folder=tmp_path / "w", fabric=fabric)
    facts = run.provenance
    assert (facts.network, facts.seed, facts.epochs) == ("lenet5", 2, 2)
    assert facts.data == "digits train"
    assert facts.data_fingerprint == few.train.fingerprint
    assert facts.best_epoch == run.history.best.number
    assert facts.metrics == run.test.numbers()
    assert facts.recipe["optimizer"]["lr"] == 2e-3
    assert facts.recipe["loss"] == {"kind": "Map", "j": 5.0}
    assert (facts.device, facts.precision, facts.threads, facts.devices) == ("cpu", "32-true", 1, 1)
    assert facts.images == [hash_images(few.train), hash_images(few.validation)]
    _, stored = load_tensors(tmp_path / "w" / "weights.safetensors")
    assert stored["provenance"] == facts.to_dict()
    assert stored["history"] == run.history.to_rows()
    assert [row["number"] for row in stored["history"]] == [1, 2]


def test_the_statistics_are_those_of_the_training_images(few, tiny_recipe, fabric, tmp_path):
    recipe = replace(tiny_recipe, pipeline="mean-std", most_tested=30)
    first = trained(recipe, few, folder=tmp_path, fabric=fabric)
    pixels = few.train.images[:96].double() / 255
    normalization: InputMap = first.normalization
    assert normalization.mean[0] == pytest.approx(pixels.mean().item(), rel=1e-12)
    assert len(first.test.predicted) == 30
    _assert_same_run(first, trained(recipe, few, folder=tmp_path, fabric=fabric))


def test_other_test_images_are_tested_anew(few, counted, steps, fabric, tmp_path):
    trained(counted, few, folder=tmp_path, fabric=fabric)
    before = (tmp_path / "test.safetensors").read_bytes()
    fewer = few._replace(test=few.test.head(7))
    assert len(trained(counted, fewer, folder=tmp_path, fabric=fabric).test.predicted) == 7
    assert (tmp_path / "test.safetensors").read_bytes() == before
    assert len(steps) == 6


def test_nothing_is_tested_twice(few, tiny_recipe, fabric, tmp_path):
    """Scores that were written into the file come back, whatever the network would answer."""
    trained(tiny_recipe, few, folder=tmp_path, fabric=fabric)
    tensors, facts = load_tensors(tmp_path / "test.safetensors")
    facts["numbers"]["top1"] = 0.123
    save_tensors(tmp_path / "test.safetensors", tensors, **facts)
    assert trained(tiny_recipe, few, folder=tmp_path, fabric=fabric).test.top1 == 0.123


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


@pytest.mark.parametrize("name", ["weights", "test"])
def test_a_flipped_bit_is_noticed_wherever_it_is(few, tiny_recipe, fabric, tmp_path, name):
    """In every 37th byte of the header, and of the numbers where they are few."""
    whole = trained(tiny_recipe, few, folder=tmp_path, fabric=fabric)
    path = tmp_path / f"{name}.safetensors"
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    places = [*range(0, header, 37), *range(header, len(content), 37 if name == "test" else 3700)]
    assert len(places) > 30
    for place in places:
        path.write_bytes(_flip(content, place))
        try:
            run = trained(tiny_recipe, few, folder=tmp_path, fabric=fabric)
        except CheckpointError as error:
            assert str(path) in str(error) and "\n" not in str(error), place
        else:
            _assert_same_run(run, whole)
            pytest.fail(f"byte {place} of {len(content)}")


@pytest.mark.parametrize("name", ["weights", "test"])
@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"", lambda b: _flip(b, 200)])
def test_a_damaged_file_is_made_again_once_it_is_deleted(
    few, counted, steps, fabric, tmp_path, name, damage
):
    whole = trained(counted, few, folder=tmp_path, fabric=fabric)
    path = tmp_path / f"{name}.safetensors"
    content = damage(path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}\.safetensors is damaged .*; {DELETE}"):
        trained(counted, few, folder=tmp_path, fabric=fabric)
    assert path.read_bytes() == content
    path.unlink()
    again = trained(counted, few, folder=tmp_path, fabric=fabric)
    _assert_same_bits(whole.model, again.model)
    np.testing.assert_array_equal(whole.test.predicted, again.test.predicted)
    assert whole.test.numbers() == pytest.approx(again.test.numbers(), rel=1e-6)
    assert len(steps) == (12 if name == "weights" else 6)


def test_weights_without_provenance_are_refused(few, tiny_recipe, fabric, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_tensors(path, build("lenet5").state_dict(), history=[])
    with pytest.raises(
        CheckpointError,
        match=r"weights\.safetensors: provenance lacks all facts; train again, once it is deleted",
    ):
        trained(tiny_recipe, few, folder=tmp_path, fabric=fabric)
    path.unlink()  # the remedy
    trained(tiny_recipe, few, folder=tmp_path, fabric=fabric)


_ODD = {
    "weights": [
        {"history": None}, {"history": [1]}, {"history": [{"number": 1}]}, {"history": 5},
        {"statistics": None}, {"statistics": "x"}, {"statistics": 3},
        {"statistics": pack_tensors({"mean": torch.zeros(2)})},
        {"provenance": []}, {"provenance": {"seed": 1}},
    ],
    "test": [{"numbers": None}, {"numbers": {"a": 1}}, {"numbers": 3}, {"confusion": {"a": [1]}},
             {"confusion": [[1], [1, 2]]}, {"confusion": [[0] * 10] * 10}],
}  # fmt: skip


@pytest.mark.parametrize("name", ["weights", "test"])
def test_facts_of_another_form_are_one_error_with_a_remedy(
    few, tiny_recipe, fabric, tmp_path, name
):
    """With a right checksum, as another version might have written them."""
    whole = trained(tiny_recipe, few, folder=tmp_path, fabric=fabric)
    path = tmp_path / f"{name}.safetensors"
    content = path.read_bytes()
    for odd in _ODD[name]:
        path.write_bytes(content)
        tensors, facts = load_tensors(path)
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        save_tensors(path, tensors, **facts | odd)
        with pytest.raises(CheckpointError) as caught:
            trained(tiny_recipe, few, folder=tmp_path, fabric=fabric)
            pytest.fail(str(odd))
        assert str(path) in str(caught.value) and "\n" not in str(caught.value), odd
        assert "delete" in str(caught.value), odd
    path.unlink()  # the remedy
    _assert_same_bits(whole.model, trained(tiny_recipe, few, folder=tmp_path, fabric=fabric).model)


def test_a_damaged_snapshot_is_made_again_by_what_its_message_says(few, tiny_recipe, fabric):
    recipe = replace(tiny_recipe, snapshots=(1,))
    run = trained(recipe, few, fabric=fabric)
    before = run.snapshot(1)
    path = RunFolder(run.folder).snapshot(1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"is damaged .*; delete .* to train again") as caught:
        run.snapshot(1)
    (named,) = re.findall("; delete (.*) to train again", str(caught.value))
    shutil.rmtree(named)
    _assert_same_bits(trained(recipe, few, fabric=fabric).snapshot(1), before)


def test_a_named_folder_with_the_weights_of_another_run_is_refused(
    few, counted, steps, fabric, tmp_path
):
    trained(counted, few, seed=2, folder=tmp_path, fabric=fabric)
    before = (tmp_path / "weights.safetensors").read_bytes()
    for recipe, splits, seed in [
        (replace(counted, optimizer=AdamW(1e-3)), few, 2),
        (counted, few, 3),
        (counted, few._replace(train=replace(few.train, fingerprint="other")), 2),
    ]:
        with pytest.raises(CheckpointError, match="another recipe, seed or data"):
            trained(recipe, splits, seed=seed, folder=tmp_path, fabric=fabric)
    with pytest.raises(CheckpointError, match="another"):
        trained(replace(counted, network="lenet5-paper"), few, seed=2, folder=tmp_path)
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    assert len(steps) == 6


def test_a_folder_that_cannot_be_written_is_refused_before_training(
    few, counted, steps, fabric, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*file.*; free some space, or name"):
        trained(counted, few, folder=tmp_path / "file" / "w", fabric=fabric)
    assert steps == []
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_run_that_is_stopped_goes_on(few, tiny_recipe, counted, steps, fabric):
    whole = trained(counted, few, seed=1, fabric=fabric)
    shutil.rmtree(whole.folder)
    steps.clear()
    with pytest.raises(Interrupted):
        trained(_interrupted(tiny_recipe, 4), few, seed=1, fabric=fabric)
    assert (whole.folder / "checkpoint.pt").exists()
    _assert_same_bits(whole.model, trained(counted, few, seed=1, fabric=fabric).model)
    assert steps == [3, 4, 5]


def test_what_a_run_left_that_was_stopped_at_its_very_end_is_removed(
    few, tiny_recipe, fabric, tmp_path
):
    """A draft of a process that died, and a checkpoint of the epoch before the last."""
    trained(tiny_recipe, few, folder=tmp_path, fabric=fabric)
    script = (
        "import os, sys; from pathlib import Path; from internals.files import temporary_beside\n"
        "names = 'weights.safetensors', 'test.safetensors', 'checkpoint.pt'\n"
        "drafts = [temporary_beside(Path(sys.argv[1]) / name) for name in names]\n"
        "for draft in drafts: draft.__enter__()\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -9
    (tmp_path / "checkpoint.pt").write_bytes(b"left over")
    assert len(list(tmp_path.iterdir())) == 6
    trained(tiny_recipe, few, folder=tmp_path, fabric=fabric)
    assert {path.name for path in tmp_path.iterdir()} == {"weights.safetensors", "test.safetensors"}


def test_a_snapshot_is_the_network_after_its_epoch(few, tiny_recipe, fabric, tmp_path):
    """At a constant rate that is what a shorter run ends with."""
    recipe = replace(tiny_recipe, epochs=3, schedule=Constant(), snapshots=(1, 2))
    run = trained(recipe, few, seed=2, fabric=fabric)
    for epochs in recipe.snapshots:
        shorter = replace(recipe, epochs=epochs, selection="last", snapshots=())
        wanted = trained(shorter, few, seed=2, folder=tmp_path / str(epochs), fabric=fabric)
        snapshot = run.snapshot(epochs)
        assert not snapshot.training
        _assert_same_bits(snapshot, wanted.model)


def test_an_epoch_that_was_not_kept_is_refused_with_the_remedy(few, tiny_recipe, fabric):
    recipe = replace(tiny_recipe, snapshots=(1,))
    run = trained(recipe, few, fabric=fabric)
    with pytest.raises(CheckpointError) as caught:
        run.snapshot(2)
    assert "name an epoch of the recipe's snapshots, (1,)," in str(caught.value)
    assert f"or delete {run.folder} to train again" in str(caught.value)
    # The remedy: another set of snapshots is no reason to train again, until one deletes it.
    more = replace(recipe, snapshots=(1, 2))
    with pytest.raises(CheckpointError):
        trained(more, few, fabric=fabric).snapshot(2)
    shutil.rmtree(run.folder)
    _assert_same_bits(trained(more, few, fabric=fabric).snapshot(1), run.snapshot(1))
    trained(more, few, fabric=fabric).snapshot(2)


@pytest.fixture
def two_cores(monkeypatch, no_accelerator):
    """Returns a function that says how many of two cores are used."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    return lambda count: monkeypatch.setenv("INTERNALS_CORES", str(count))


def test_a_run_begun_with_one_thread_goes_on_with_one(few, tiny_recipe, two_cores, capsys):
    two_cores(1)
    whole = trained(tiny_recipe, few, seed=1)
    shutil.rmtree(whole.folder)
    with pytest.raises(Interrupted):
        trained(_interrupted(tiny_recipe, 4), few, seed=1)
    two_cores(2)
    again = trained(tiny_recipe, few, seed=1)
    assert f"going on with 1 threads, as the run in {whole.folder} began" in capsys.readouterr().out
    assert again.folder == whole.folder
    assert again.provenance.threads == 1
    _assert_same_bits(whole.model, again.model)
    assert again.history.column("train_loss") == whole.history.column("train_loss")


@pytest.mark.slow
def test_runs_with_one_and_two_threads_share_no_folder(few, tiny_recipe, two_cores):
    folders = set()
    for count in (1, 2):
        two_cores(count)
        run = trained(tiny_recipe, few, seed=1)
        assert run.provenance.threads == count
        folders.add(run.folder)
        run.folder.rename(run.folder.parent.parent / str(count))  # so that it is not just taken
    assert len(folders) == 2
    assert len({folder.name.rpartition("-")[0] for folder in folders}) == 1
    assert {folder.name.rpartition("-")[2] for folder in folders} == {"1t", "2t"}


def test_a_finished_run_is_taken_whatever_its_threads_this_machines_first(
    few, counted, steps, two_cores
):
    two_cores(1)
    run = trained(counted, few, seed=1)
    two_cores(2)
    assert trained(counted, few, seed=1).folder == run.folder
    assert len(steps) == 6
    other = run.folder.with_name(run.folder.name.replace("-1t", "-2t"))
    shutil.copytree(run.folder, other)
    assert trained(counted, few, seed=1).folder == other
    two_cores(1)
    assert trained(counted, few, seed=1).folder == run.folder


@pytest.mark.parametrize(("begun", "now"), [(1, 2), (2, 1)])
def test_a_run_in_a_named_folder_goes_on_with_as_many_threads_as_it_began_with(
    few, tiny_recipe, two_cores, tmp_path, capsys, begun, now
):
    """Also with more than there are cores now, for which no setting could ask."""
    two_cores(begun)
    whole = trained(tiny_recipe, few, seed=1, folder=tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(_interrupted(tiny_recipe, 4), few, seed=1, folder=tmp_path / "w")
    two_cores(now)
    again = trained(tiny_recipe, few, seed=1, folder=tmp_path / "w")
    assert f"going on with {begun} threads, as the run in" in capsys.readouterr().out
    assert (whole.provenance.threads, again.provenance.threads) == (begun, begun)
    _assert_same_bits(whole.model, again.model)


@pytest.mark.parametrize("compute", ["cpu-32-1t-x2", "cuda-bf16", "a word"])
def test_a_run_of_other_devices_is_refused_and_kept(few, tiny_recipe, fabric, tmp_path, compute):
    path = _stopped(few, tiny_recipe, fabric, tmp_path)
    save_checkpoint(path, load_checkpoint(path) | {"compute": compute})
    before = path.read_bytes()
    with pytest.raises(
        CheckpointError,
        match=rf"was begun as '{compute}' and .* same device, precision, processes and threads",
    ):
        trained(tiny_recipe, few, seed=1, folder=tmp_path, fabric=fabric)
    assert path.read_bytes() == before


def _stopped(few, recipe, fabric, folder: Path) -> Path:
    """The checkpoint of a run that was stopped in its second epoch."""
    with pytest.raises(Interrupted):
        trained(_interrupted(recipe, 4), few, seed=1, folder=folder, fabric=fabric)
    return folder / "checkpoint.pt"


def _set(value, *keys):
    """Returns a function that puts `value` at a place of nested dictionaries and lists."""

    def change(state):
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = value

    return change


def _drop(*keys):
    def change(state):
        for key in keys[:-1]:
            state = state[key]
        del state[keys[-1]]

    return change


_FORGED = {
    **{f"no {key}": _drop(key) for key in (
        "identity", "compute", "model", "optimizer", "history", "replays", "selected", "statistics",
    )},
    **{f"{key} is {value!r}": _set(value, key)
       for key in ("model", "optimizer", "history", "replays", "statistics", "identity", "compute")
       for value in (None, [], 3, "x", torch.zeros(2, 2), [[1]], {"a": {}})
       if not (value == "x" and key in ("identity", "compute")) and (key, value) != ("replays", [])
    },
    "an identity in a tensor": _set(torch.zeros(20, 20), "identity"),
    "selected is a list": _set([1], "selected"),
    "selected has a shape": _set({"a": torch.zeros(1)}, "selected"),
    "weights of a shape": _set(torch.zeros(3), "model", "conv1.weight"),
    "weights of a type": _set(3, "model", "conv1.weight"),
    "no weights": _drop("model", "conv1.weight"),
    "no groups": _set([], "optimizer", "param_groups"),
    "a group lacks betas": _drop("optimizer", "param_groups", 0, "betas"),
    "a rate in words": _set("fast", "optimizer", "param_groups", 0, "weight_decay"),
    "a mean of another shape": _set(torch.zeros(7), "optimizer", "state", 0, "exp_avg"),
    "a mean of one number": _set(torch.zeros(()), "optimizer", "state", 0, "exp_avg_sq"),
    "steps of another shape": _set(torch.zeros(3), "optimizer", "state", 0, "step"),
    "no mean": _drop("optimizer", "state", 0, "exp_avg"),
    "a mean in words": _set("x", "optimizer", "state", 0, "exp_avg_sq"),
    "an epoch lacks its loss": _drop("history", 0, "train_loss"),
    "an epoch with seconds in words": _set("fast", "history", 0, "seconds"),
    "an epoch of another number": _set(3, "history", 0, "number"),
    "an epoch of more": _set(1, "history", 0, "colour"),
    "a replay in tensors": _set(torch.zeros(3), "replays", 0, "losses"),
    "a replay in words": _set(["a"], "replays", 0, "losses"),
    "statistics of two channels": _set(
        {"mean": torch.zeros(2).double(), "std": torch.ones(2).double()}, "statistics"
    ),
    "statistics of another type": _set(
        {"mean": torch.zeros(1, dtype=torch.complex64), "std": torch.ones(1)}, "statistics"
    ),
}  # fmt: skip


def test_a_checkpoint_of_odd_content_is_one_error_before_a_step_is_taken(
    few, tiny_recipe, fabric, tmp_path
):
    """With a right checksum: another version, or somebody else, has written it."""
    path = _stopped(few, tiny_recipe, fabric, tmp_path)
    whole = path.read_bytes()
    for name, change in _FORGED.items():
        path.write_bytes(whole)
        state = load_checkpoint(path)
        change(state)
        save_checkpoint(path, state)
        before = path.read_bytes()
        with pytest.raises(CheckpointError) as caught:
            trained(tiny_recipe, few, seed=1, folder=tmp_path, fabric=fabric)
            pytest.fail(name)
        assert str(path) in str(caught.value) and "delete it" in str(caught.value), name
        assert "\n" not in str(caught.value), name
        assert path.read_bytes() == before, name
    path.unlink()  # the remedy
    trained(tiny_recipe, few, seed=1, folder=tmp_path, fabric=fabric)


def test_a_checkpoint_of_another_recipe_is_refused_by_that_name(few, tiny_recipe, fabric, tmp_path):
    _stopped(few, tiny_recipe, fabric, tmp_path)
    for other in ({"network": "lenet5-paper"}, {"optimizer": SGD(0.1)}, {"average": 0.5}):
        recipe = replace(tiny_recipe, **other)
        with pytest.raises(CheckpointError, match="belongs to a run with another recipe, seed or"):
            trained(recipe, few, seed=1, folder=tmp_path, fabric=fabric)


def test_the_name_of_a_folder_tells_apart_what_decides_the_last_bits(few, tiny_recipe):
    kinds = [
        Compute("cpu", "32-true", 1, 1), Compute("cpu", "32-true", 2, 1),
        Compute("cpu", "bf16-mixed", 1, 1), Compute("cpu", "32-true", 1, 2),
        Compute("cuda", "bf16-mixed", 0, 1), Compute("cuda", "bf16-mixed", 0, 2),
        Compute("mps", "32-true", 0, 1),
    ]  # fmt: skip
    folders = {weights_folder(tiny_recipe, few, 0, kind) for kind in kinds}
    assert len(folders) == len(kinds)
    assert [Compute.parse(folder.name) for folder in sorted(folders)] == sorted(kinds, key=str)
    assert [str(kind) for kind in kinds[1:6:2]] == ["cpu-32-2t", "cpu-32-1t-x2", "cuda-bf16-x2"]


def test_key_changes_with_recipe_seed_and_data(few, tiny_recipe):
    changes = (
        {"optimizer": AdamW(1e-3, 1e-4)}, {"optimizer": AdamW(2e-3)}, {"epochs": 3},
        {"optimizer": SGD(2e-3, 1e-4)}, {"loss": Map(1.0)}, {"pipeline": InputRange(0.0, 1.0)},
        {"network": "lenet5-paper"}, {"most_images": 95}, {"selection": "last"},
    )  # fmt: skip
    keys = [weights_key(tiny_recipe, few, 0), weights_key(tiny_recipe, few, 1)]
    keys += [weights_key(replace(tiny_recipe, **change), few, 0) for change in changes]
    other = replace(few.train, fingerprint="another data set")
    keys.append(weights_key(tiny_recipe, few._replace(train=other), 0))
    assert len(set(keys)) == len(keys)
    for change in ({"paper": {"epochs": "20"}}, {"snapshots": (1,)}):
        assert weights_key(replace(tiny_recipe, **change), few, 0) == keys[0]


def test_key_changes_with_the_images_that_are_held_out(digits, tiny_recipe):
    """Splits of one data set by two seeds are as large, but do not give the same weights."""
    whole = digits.train
    keys = {
        weights_key(tiny_recipe, Splits(*whole.hold_out(100, seed), digits.test), 0)
        for seed in (0, 1)
    }
    assert len(keys) == 2


def test_the_hash_of_images_tells_apart_what_the_fingerprint_does_not(digits):
    """Order, labels, size and a frame; the very same images in another memory do not count."""
    images = digits.train.head(50)
    swapped = torch.arange(50)
    swapped[[3, 4]] = torch.tensor([4, 3])
    others = [
        images.subset(swapped), images.head(49), images.padded(1),
        replace(images, labels=images.labels.flip(0)), replace(images, fingerprint="other"),
        replace(images, images=images.images[:, :, ::2, ::2]),
    ]  # fmt: skip
    assert len({hash_images(other) for other in [images, *others]}) == 7
    assert hash_images(replace(images, images=images.images.clone())) == hash_images(images)


# Edits of a copied package, and the recipes whose weights get another key by them. An edit of
# nothing is one at the top of the file.
_EVERY = "lenet5 resnet18 lenet5-pgd"
_EDITS = [
    ("models/lenet5.py", "2.4 / 4", "2.4 / 5", "lenet5 lenet5-pgd"),
    ("models/lenet5.py", "..###..", "..#.#..", "lenet5 lenet5-pgd"),
    ("models/resnet18.py", "3, 64, kernel_size=7", "3, 64, kernel_size=5", "resnet18"),
    ("models/lenet5_variants.py", "16, 120", "16, 121", ""),
    ("models/mobilenet.py", "", "edited = 1\n", ""),
    ("training/loop.py", "100_003", "100_019", _EVERY),
    ("training/losses.py", ".mean()", ".sum()", _EVERY),
    ("training/optim.py", "0.5 * (1 + cos", "0.4 * (1 + cos", _EVERY),
    ("training/batches.py", "_GROUPS = 8", "_GROUPS = 9", _EVERY),
    ("training/evaluate.py", "2**21", "2**20", _EVERY),
    ("training/recipe.py", "", "edited = 1\n", _EVERY),
    ("data/pipeline.py", "", "edited = 1\n", _EVERY),
    ("data/augment.py", "", "edited = 1\n", _EVERY),
    ("data/normalization.py", "div_(255)", "div_(256)", _EVERY),
    ("training/adversary.py", "", "edited = 1\n", "lenet5-pgd"),
    ("attacks/gradient_sign.py", "", "edited = 1\n", "lenet5-pgd"),
    ("training/batches.py", "self.count, generator", "self.count , generator", ""),
    ("training/loop.py", '"""The training loop', '"""A training loop', ""),
    ("training/loop.py", "# Each process's gradient", "# Any process's gradient", ""),
    ("training/losses.py", "\n\n@dataclass", "\n\n\n# a remark\n@dataclass", ""),
    ("training/checkpoint.py", "_CHECKSUM = 32", "_CHECKSUM = 33", ""),
    ("models/weights_file.py", "", "edited = 1\n", ""),
    ("training/run.py", '"test.safetensors"', '"scores.safetensors"', ""),
    ("training/recipes/resnet18.py", "epochs=", "epochs=1 + ", ""),  # the recipe itself tells
    ("progress.py", "", "edited = 1\n", ""),
    ("files.py", "", "edited = 1\n", ""),
    *[  # all modules of a room at once
        (f"{room}/*.py", "", "edited = 1\n", "")
        for room in ("projection", "anatomy", "activations", "probing", "book", "figures", "cli",
                     "ablations")
    ],
]  # fmt: skip

_KEYS = """
import json, sys
from pathlib import Path
import internals
from internals.training import code_key, find_recipe
root = Path(internals.__file__).parent
assert root == Path(sys.argv[1]), root
recipes = {name: find_recipe(name, "quick") for name in sys.argv[2].split()}
before, answers = {name: code_key(recipe) for name, recipe in recipes.items()}, []
for pattern, old, new in json.load(sys.stdin):
    texts = {path: path.read_text() for path in root.glob(pattern)}
    assert texts and all(old in text for text in texts.values()), (pattern, old)
    for path, text in texts.items():
        path.write_text(text.replace(old, new, 1))
    answers.append([name for name, recipe in recipes.items() if code_key(recipe) != before[name]])
    for path, text in texts.items():
        path.write_text(text)
assert {name: code_key(recipe) for name, recipe in recipes.items()} == before
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_the_key_reaches_all_code_that_decides_the_weights_and_no_other(tmp_path):
    copy = tmp_path / "internals"
    shutil.copytree(ROOT / "internals", copy)
    done = subprocess.run(
        [sys.executable, "-c", _KEYS, str(copy), _EVERY],
        input=json.dumps([edit[:3] for edit in _EDITS]), capture_output=True, text=True,
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    changed = [" ".join(names) for names in json.loads(done.stdout)]
    assert dict(zip(_EDITS, changed, strict=True)) == {edit: edit[3] for edit in _EDITS}


@pytest.fixture
def new_code(monkeypatch):
    """As after a refactoring: whatever the code's key was, it is another one."""

    def edit(key: str = "refactored") -> None:
        monkeypatch.setattr("internals.training.provenance.code_key", lambda recipe: key)

    return edit


def test_weights_of_earlier_code_are_adopted_after_a_replay(few, counted, steps, new_code):
    run = trained(counted, few, seed=1)
    new_code()
    steps.clear()
    place = adopt(counted, few, 1)
    assert steps == [0, 1, 2]  # the first epoch has no more
    assert place == weights_folder(counted, few, 1, Compute.of(_fabric())) != run.folder
    assert not run.folder.exists()
    steps.clear()
    again = trained(counted, few, seed=1)
    assert (steps, again.folder) == ([], place)
    _assert_same_run(run, again)
    # Twice is harmless.
    assert adopt(counted, few, 1) == place
    assert steps == []
    _assert_same_run(run, trained(counted, few, seed=1))


def _fabric():
    from internals.training import make_fabric

    return make_fabric()


def test_at_most_twenty_steps_and_those_after_the_last_snapshot_are_replayed(
    few, counted, steps, new_code
):
    """56 steps of batches of 7, four epochs: 20 would be 14 of the first, and 14 of the third."""
    recipe = replace(counted, batch_size=4, epochs=3, snapshots=(2, 3))
    run = trained(recipe, few, seed=1)
    _, facts = load_tensors(run.folder / "weights.safetensors")
    assert [(row["epoch"], len(row["losses"])) for row in facts["replays"]] == [(1, 20), (3, 20)]
    new_code()
    steps.clear()
    place = adopt(recipe, few, 1)
    assert steps == [*range(20), *range(48, 68)]
    _assert_same_bits(run.model, trained(recipe, few, seed=1).model)
    # Where that state is no longer kept, the first steps must do.
    (place / "replay.pt").unlink()
    new_code("once more")
    steps.clear()
    adopt(recipe, few, 1)
    assert steps == [*range(20)]


def _patch_rate(monkeypatch, at: int) -> None:
    """Another rate at step number `at` of the run, as by an edit of the schedule."""
    from internals.training import loop

    right = loop.learning_rate

    def wrong(lr, schedule, step, *rest):
        return right(lr, schedule, step, *rest) * (1.5 if step == at else 1)

    monkeypatch.setattr(loop, "learning_rate", wrong)


@pytest.mark.parametrize(
    ("step", "difference"),
    [
        (0, "the loss at step 2 of epoch 1 is .* and was "),
        (1, "the loss at step 3 of epoch 1 is .* and was "),
        (2, "the weights after step 3 of epoch 1 differ"),
        (3, "the loss at step 2 of epoch 2 is .* and was "),
        (5, "the weights after step 3 of epoch 2 differ"),
    ],
)
def test_code_that_changes_a_number_is_not_adopted(
    few, tiny_recipe, new_code, monkeypatch, step, difference
):
    recipe = replace(tiny_recipe, snapshots=(1,))
    run = trained(recipe, few, seed=1)
    new_code()
    _patch_rate(monkeypatch, step)
    with pytest.raises(CheckpointError, match=f"cannot adopt .*: {difference}") as caught:
        adopt(recipe, few, 1)
    assert str(run.folder) in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).endswith("; train again")
    assert run.folder.exists()


def test_code_that_takes_the_images_in_another_order_is_not_adopted(
    few, tiny_recipe, new_code, monkeypatch
):
    trained(tiny_recipe, few, seed=1)
    new_code()
    order = Batches.order
    monkeypatch.setattr(Batches, "order", lambda self, epoch: reversed([*order(self, epoch)]))
    with pytest.raises(CheckpointError, match="the order of the images in epoch 1 differs"):
        adopt(tiny_recipe, few, 1)


def test_weights_without_records_are_not_adopted(few, tiny_recipe, new_code):
    run = trained(tiny_recipe, few, seed=1)
    path = run.folder / "weights.safetensors"
    tensors, facts = load_tensors(path)
    save_tensors(path, tensors, **facts | {"replays": []})
    new_code()
    with pytest.raises(CheckpointError, match="nothing was recorded that could be replayed"):
        adopt(tiny_recipe, few, 1)


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"recipe": {"epochs": 3}}, {"damage": True}, {"stopped": True}]
)
def test_there_is_nothing_to_adopt_of_other_or_unfinished_runs(few, tiny_recipe, new_code, change):
    recipe = replace(tiny_recipe, **change.get("recipe", {}))
    if "stopped" in change:
        with pytest.raises(Interrupted):
            trained(_interrupted(recipe, 4), few, seed=1)
    else:
        run = trained(recipe, few, seed=change.get("seed", 1))
        if "damage" in change:
            path = run.folder / "weights.safetensors"
            path.write_bytes(_flip(path.read_bytes(), 999))
    new_code()
    with pytest.raises(CheckpointError, match="no finished weights of 'lenet5' by this recipe"):
        adopt(tiny_recipe, few, 1)


def test_a_replay_that_is_damaged_is_one_error(few, tiny_recipe, new_code):
    recipe = replace(tiny_recipe, snapshots=(1,))
    run = trained(recipe, few, seed=1)
    path = RunFolder(run.folder).replay
    assert len(load_checkpoint(path)["history"]) == 1
    path.write_bytes(path.read_bytes()[:-1])
    new_code()
    with pytest.raises(
        CheckpointError, match=r"replay\.pt is damaged .*; delete it to compare the"
    ):
        adopt(recipe, few, 1)
    path.unlink()  # the remedy
    adopt(recipe, few, 1)


def test_a_replay_of_odd_content_is_one_error(few, tiny_recipe, new_code):
    recipe = replace(tiny_recipe, snapshots=(1,))
    path = RunFolder(trained(recipe, few, seed=1).folder).replay
    state = load_checkpoint(path)
    del state["optimizer"]["state"][0]["exp_avg"]
    save_checkpoint(path, state)
    new_code()
    with pytest.raises(
        CheckpointError, match=r"replay\.pt cannot be continued \(it lacks 'exp_avg'"
    ):
        adopt(recipe, few, 1)


def test_a_recorded_replay_of_another_length_is_not_adopted(few, tiny_recipe, new_code):
    path = trained(tiny_recipe, few, seed=1).folder / "weights.safetensors"
    tensors, facts = load_tensors(path)
    facts["replays"][0]["losses"].append(1.0)
    save_tensors(path, {name: tensor.clone() for name, tensor in tensors.items()}, **facts)
    new_code()
    with pytest.raises(CheckpointError, match="4 steps of epoch 1 were recorded, and 3 are taken"):
        adopt(tiny_recipe, few, 1)


def _command(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = "from internals.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", command, "train", "lenet5", "--profile", "smoke",
         "--data", "embedded", *words],
        cwd=root, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(root), "INTERNALS_BUILD": str(root / "build")},
    )  # fmt: skip


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.slow
def test_an_edited_package_adopts_what_it_trained_before(tmp_path):
    """On the command line: an edit that changes no number, and then one that does."""
    copy = tmp_path / "internals"
    shutil.copytree(ROOT / "internals", copy)
    first = _command(tmp_path)
    assert first.returncode == 0, first.stderr
    (before,) = (tmp_path / "build" / "weights").iterdir()
    _edit(copy / "training" / "loop.py", "rate = learning_rate(", "rate = 1.0 * learning_rate(")
    adopted = _command(tmp_path, "--adopt")
    assert adopted.returncode == 0, adopted.stderr
    (after,) = (tmp_path / "build" / "weights").iterdir()
    assert after != before and f"adopted: {after}" in adopted.stdout
    _edit(copy / "training" / "loop.py", "= 1.0 * learning_rate(", "= 1.01 * learning_rate(")
    refused = _command(tmp_path, "--adopt")
    assert refused.returncode == 1
    assert f"cannot adopt {after}: the loss at step 2 of epoch 1 is " in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert [path.name for path in (tmp_path / "build" / "weights").iterdir()] == [after.name]


def test_adopted_weights_take_the_place_of_an_unfinished_run_by_today_s_code(
    few, tiny_recipe, monkeypatch
):
    """Oracle: the weights of the finished run, tensor by tensor."""
    finished = trained(tiny_recipe, few, seed=1)
    monkeypatch.setattr("internals.training.provenance.code_key", lambda recipe: "other")
    with pytest.raises(Interrupted):
        trained(_interrupted(tiny_recipe, 4), few, seed=1)
    place = adopt(tiny_recipe, few, seed=1)
    assert place != finished.folder and not (place / "checkpoint.pt").exists()
    again = trained(tiny_recipe, few, seed=1)
    assert again.folder == place
    assert again.provenance.weights_sha256 == finished.provenance.weights_sha256


def test_scores_that_were_deleted_are_made_again_and_kept(few, tiny_recipe):
    """Oracle: the scores of the run itself."""
    run = trained(tiny_recipe, few, seed=1)
    path = run.folder / "test.safetensors"
    tensors, facts = load_tensors(path)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    path.unlink()
    again = trained(tiny_recipe, few, seed=1)
    assert again.test.numbers() == run.test.numbers()
    assert load_tensors(path)[1] == facts
    for name, tensor in load_tensors(path)[0].items():
        torch.testing.assert_close(tensor, tensors[name], rtol=0, atol=0)
