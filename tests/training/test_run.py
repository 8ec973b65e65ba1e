"""Oracle: epochs counted, files compared byte by byte, and edits made to a copy of the package."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from internals import fingerprint
from internals.data.image_set import Splits
from internals.errors import CheckpointError, OutputError
from internals.training import loop, run
from internals.training.provenance import code_key, content, weights_key


@pytest.fixture
def epochs_run(monkeypatch, exact_machine):
    """The numbers of the epochs that were really trained."""
    numbers = []
    real = loop._Training.one_epoch

    def counted(self, number, bar):
        numbers.append(number)
        return real(self, number, bar)

    monkeypatch.setattr(loop._Training, "one_epoch", counted)
    return numbers


def test_a_second_call_does_not_train(few, tiny_recipe, epochs_run, tmp_path):
    first = run.trained(tiny_recipe, few, seed=2)
    assert epochs_run == [1, 2]
    second = run.trained(tiny_recipe, few, seed=2)
    assert epochs_run == [1, 2]
    for (name, a), (_, b) in zip(
        first.model.state_dict().items(), second.model.state_dict().items(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)
    assert second.history == first.history
    assert json.dumps(second.provenance.to_dict()) == json.dumps(first.provenance.to_dict())
    assert second.test.numbers() == first.test.numbers()
    folder = tmp_path / "build" / "weights" / (f"lenet5-{weights_key(tiny_recipe, few, 2)}")
    made = {"weights", "statistics", "test"}
    files = {p.name for p in folder.iterdir()}
    assert files == {"history.json", *(f"{name}.safetensors" for name in made)}


def test_provenance_says_what_was_done(few, tiny_recipe, epochs_run, tmp_path):
    made = run.trained(tiny_recipe, few, seed=2, folder=tmp_path / "w")
    facts = made.provenance
    assert (facts.network, facts.seed, facts.epochs) == ("lenet5", 2, 2)
    assert facts.data == "digits train"
    assert facts.data_fingerprint == few.train.fingerprint
    assert facts.best_epoch == made.history.best.number
    assert facts.metrics == made.test.numbers()
    assert facts.recipe["learning_rate"] == 2e-3
    assert facts.versions["torch"] == torch.__version__.split("+")[0] or "+" in torch.__version__
    assert facts.code == code_key("lenet5")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[1]", '[{"number": 1}]'])
def test_a_damaged_history_is_one_error_and_stays(few, tiny_recipe, epochs_run, tmp_path, content):
    run.trained(tiny_recipe, few, folder=tmp_path)
    path = tmp_path / "history.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=r"history\.json is missing or damaged"):
        run.trained(tiny_recipe, few, folder=tmp_path)
    assert path.read_text() == content
    assert epochs_run == [1, 2]


def test_damaged_weights_are_one_error_and_stay(few, tiny_recipe, epochs_run, tmp_path):
    run.trained(tiny_recipe, few, folder=tmp_path)
    path = tmp_path / "weights.safetensors"
    content = path.read_bytes()[:-9]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is damaged"):
        run.trained(tiny_recipe, few, folder=tmp_path)
    assert path.read_bytes() == content


def test_a_named_folder_with_the_weights_of_another_run_is_refused(
    few, tiny_recipe, epochs_run, tmp_path
):
    run.trained(tiny_recipe, few, seed=2, folder=tmp_path)
    before = (tmp_path / "weights.safetensors").read_bytes()
    for recipe, splits, seed in [
        (replace(tiny_recipe, learning_rate=1e-3), few, 2),
        (tiny_recipe, few, 3),
        (tiny_recipe, few._replace(train=replace(few.train, fingerprint="other")), 2),
    ]:
        with pytest.raises(CheckpointError, match="another recipe, seed or data"):
            run.trained(recipe, splits, seed=seed, folder=tmp_path)
    with pytest.raises(CheckpointError, match="another"):
        run.trained(replace(tiny_recipe, network="lenet5-paper"), few, seed=2, folder=tmp_path)
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    assert epochs_run == [1, 2]


def test_a_folder_that_cannot_be_written_is_found_out_before_training(
    few, tiny_recipe, epochs_run, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*file.*; free some space, or name"):
        run.trained(tiny_recipe, few, folder=tmp_path / "file" / "w")
    assert epochs_run == []
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(
    few, tiny_recipe, epochs_run, tmp_path, monkeypatch
):
    import os

    sync, count = os.fsync, iter(range(10))

    def full_at_the_second(handle):
        if next(count) == 1:
            raise OSError(28, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_at_the_second)
        with pytest.raises(OutputError, match=r"checkpoint\.pt: No space left on device"):
            run.trained(tiny_recipe, few, folder=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
    run.trained(tiny_recipe, few, folder=tmp_path)
    assert epochs_run == [1, 2, 2]  # the first epoch was not lost


def test_key_changes_with_recipe_seed_and_data(few, tiny_recipe):
    keys = [weights_key(tiny_recipe, few, 0)]
    for change in (
        {"learning_rate": 1e-3}, {"epochs": 3}, {"weight_decay": 0.0}, {"rubbish_penalty": 1.0},
        {"input_range": (0.0, 1.0)}, {"network": "lenet5-paper"}, {"most_images": 95},
    ):  # fmt: skip
        keys.append(weights_key(replace(tiny_recipe, **change), few, 0))
    keys.append(weights_key(tiny_recipe, few, 1))
    other = replace(few.train, fingerprint="another data set")
    keys.append(weights_key(tiny_recipe, few._replace(train=other), 0))
    assert len(set(keys)) == len(keys)
    paper = replace(tiny_recipe, paper={"epochs": "20"})
    assert weights_key(paper, few, 0) == keys[0]


def test_key_changes_with_the_images_that_are_held_out(digits, tiny_recipe):
    """Splits of one data set by two seeds are as large, but do not give the same weights."""
    whole = digits.train
    keys = {
        weights_key(tiny_recipe, Splits(*whole.hold_out(100, seed), digits.test), 0)
        for seed in (0, 1)
    }
    assert len(keys) == 2


def test_content_tells_apart_what_the_fingerprint_does_not(digits):
    """Order, labels, size and a frame; the very same images in another memory do not count."""
    images = digits.train.subset(torch.arange(50))
    swapped = torch.arange(50)
    swapped[[3, 4]] = torch.tensor([4, 3])
    others = [
        images.subset(swapped), images.subset(torch.arange(49)), images.padded(1),
        replace(images, labels=images.labels.flip(0)), replace(images, fingerprint="other"),
        replace(images, images=images.images[:, :, ::2, ::2]),
    ]  # fmt: skip
    assert len({content(other) for other in [images, *others]}) == 7
    assert content(replace(images, images=images.images.clone())) == content(images)


def test_pipeline_and_test_answers_come_back_from_disk(
    few, tiny_recipe, epochs_run, tmp_path, monkeypatch
):
    recipe = replace(tiny_recipe, pipeline="mean-std", input_range=None, most_tested=30)
    first = run.trained(recipe, few, folder=tmp_path)
    pixels = few.train.images[:96].double() / 255
    assert first.pipeline.normalization.mean[0] == pytest.approx(pixels.mean().item(), rel=1e-12)
    assert len(first.test.predicted) == 30
    with monkeypatch.context() as patch:
        patch.setattr(run, "evaluate", None)  # nothing is tested twice
        second = run.trained(recipe, few, folder=tmp_path)
    assert second.pipeline.normalization == first.pipeline.normalization
    assert second.test.numbers() == first.test.numbers()
    for name in ("confusion", "predicted", "confidence"):
        np.testing.assert_array_equal(getattr(second.test, name), getattr(first.test, name))
    fewer = few._replace(test=few.test.subset(torch.arange(7)))
    assert len(run.trained(recipe, fewer, folder=tmp_path).test.predicted) == 7
    assert epochs_run == [1, 2]


@pytest.mark.parametrize("name", ["statistics", "test"])
def test_a_damaged_file_beside_the_weights_is_one_error(
    few, tiny_recipe, epochs_run, tmp_path, name
):
    run.trained(tiny_recipe, few, folder=tmp_path)
    path = tmp_path / f"{name}.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:-3], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=rf"{name}\.safetensors is damaged"):
            run.trained(tiny_recipe, few, folder=tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=rf"{name}\.safetensors does not exist"):
        run.trained(tiny_recipe, few, folder=tmp_path)


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Edit a copy of the package and tell the key of the weights that it would give."""
    copy = tmp_path / "copy" / "internals"
    shutil.copytree(
        Path(fingerprint.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(fingerprint, "_ROOT", copy.parent)

    def key_after(file: str, old: str, new: str, network: str = "lenet5") -> tuple[str, str]:
        before = code_key(network)
        text = (copy / file).read_text()
        assert old in text
        (copy / file).write_text(text.replace(old, new, 1))
        return before, code_key(network)

    return key_after


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/lenet5.py", "2.4 / 4", "2.4 / 5"),
        ("models/lenet5_parts.py", "SLOPE = 1.7159, 2 / 3", "SLOPE = 1.7159, 1 / 3"),
        ("models/bitmaps.py", "..###..", "..#.#.."),
        ("training/loop.py", "100_003", "100_019"),
        ("training/losses.py", ".mean()", ".sum()"),
        ("data/normalization.py", "div_(255)", "div_(256)"),
    ],
)
def test_code_that_decides_the_weights_changes_the_key(edited, file, old, new):
    before, after = edited(file, old, new)
    assert before != after


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/lenet5.py", '"""LeNet-5 (', '"""Le Net-5 ('),
        ("training/loop.py", "# For dropout", "# For drop-out"),
        ("training/losses.py", "\n\nclass MapLoss", "\n\n\n# a remark\nclass MapLoss"),
        ("figures/palette.py", '"""', '"""x'),
        ("progress.py", "quiet: float = 0", "quiet: float = 1"),
        ("models/lenet5_variants.py", "16, 120", "16, 121"),
        ("activations/mining.py", "_BATCH = 256", "_BATCH = 128"),
    ],
)
def test_what_cannot_change_the_weights_does_not_change_the_key(edited, file, old, new):
    before, after = edited(file, old, new)
    assert before == after


def test_code_of_a_variant_changes_only_its_own_key(edited):
    before, after = edited("models/lenet5_variants.py", "16, 120", "16, 121", "lenet5-softmax")
    assert before != after


def test_history_file_is_what_was_measured(few, tiny_recipe, epochs_run, tmp_path):
    made = run.trained(tiny_recipe, few, folder=tmp_path)
    rows = json.loads((tmp_path / "history.json").read_text())
    assert [row["number"] for row in rows] == [1, 2]
    assert [row["train_loss"] for row in rows] == made.history.column("train_loss")
