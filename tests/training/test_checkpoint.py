"""Oracle: files damaged on purpose, byte by byte; the bytes that were there before."""

import hashlib
import json
import random

import pytest
import safetensors.torch
import torch

from internals.errors import CheckpointError, OutputError
from internals.models.lenet5 import LeNet5
from internals.training.checkpoint import (
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
    tensor_bytes,
)
from internals.training.provenance import Provenance


@pytest.fixture
def provenance():
    return Provenance.now(
        network="lenet5", recipe={"epochs": 2}, seed=1, data="digits train",
        data_fingerprint="d", images=["t", "v"], code="c", device="cpu", devices=1,
        precision="32-true", threads=1,
        epochs=2, best_epoch=1, seconds=0.5, images_per_second=7.0, metrics={"top1": 0.5},
    )  # fmt: skip


def _state() -> dict:
    return {"identity": "me", "model": LeNet5().state_dict(), "history": [{"number": 1}]}


def test_checkpoint_round_trip(tmp_path):
    path = tmp_path / "deep" / "c.pt"
    state = _state()
    save_checkpoint(path, state)
    again = load_checkpoint(path)
    assert again["identity"] == "me"
    assert again["history"] == [{"number": 1}]
    for name, tensor in state["model"].items():
        torch.testing.assert_close(again["model"][name], tensor, rtol=0, atol=0)


def test_the_size_of_a_checkpoint_is_known_before_it_is_written(tmp_path):
    """LeNet-5's weights twice over: the file is larger by names and bookkeeping only."""
    state = {**_state(), "optimizer": {"state": {0: LeNet5().state_dict(), 1: {"step": 3}}}}
    save_checkpoint(tmp_path / "c.pt", state)
    size = (tmp_path / "c.pt").stat().st_size
    assert 0.9 * size < tensor_bytes(state) < size


def _damages(content: bytes):
    random_bytes = random.Random(1)
    yield "empty", b""
    yield "text", b"not a checkpoint\n"
    for share in (0.01, 0.3, 0.7, 0.99):
        yield f"cut at {share:.0%}", content[: int(len(content) * share)]
    yield "one byte short", content[:-1]
    for place in (0, 5, len(content) // 3, len(content) // 2, len(content) - 30, len(content) - 1):
        yield f"bit flipped at {place}", _flipped(content, place)
    for _ in range(12):
        place = random_bytes.randrange(len(content))
        yield f"bit flipped at {place}", _flipped(content, place)


def _flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def test_any_damage_to_a_checkpoint_is_one_error_and_the_file_stays(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, _state())
    for damage, content in _damages(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path)
            pytest.fail(damage)
        assert str(path) in str(caught.value)
        assert "delete it to train from the start" in str(caught.value), damage
        assert "\n" not in str(caught.value), damage
        assert path.read_bytes() == content, damage


def test_nothing_is_run_from_a_checkpoint(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "checkpoint.pt"
    torch.save({"identity": Evil()}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    save_checkpoint(path, {"identity": Evil()})  # and with a right checksum
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not (tmp_path / "owned").exists()


def test_missing_checkpoint_is_an_error_of_ours(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        load_checkpoint(tmp_path / "no.pt")


def test_weights_round_trip(tmp_path, provenance):
    model, other = LeNet5(), LeNet5()
    save_weights(tmp_path / "w.safetensors", model, provenance)
    assert load_weights(tmp_path / "w.safetensors", other) == provenance
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


def test_any_damage_to_weights_is_one_error_and_model_and_file_stay(tmp_path, provenance):
    path, model = tmp_path / "w.safetensors", LeNet5()
    save_weights(path, LeNet5(), provenance)
    before = _bits(model)
    for damage, content in _damages(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            load_weights(path, model)
            pytest.fail(damage)
        assert str(path) in str(caught.value), damage
        assert "\n" not in str(caught.value), damage
        assert path.read_bytes() == content, damage
        assert _bits(model) == before, damage


def _bits(model) -> str:
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def test_weights_of_another_network_are_refused(tmp_path, provenance):
    path, model = tmp_path / "w.safetensors", LeNet5()
    save_weights(path, LeNet5(paper=True), provenance)
    before = _bits(model)
    with pytest.raises(CheckpointError, match="holds weights of another network than LeNet5"):
        load_weights(path, model)
    assert _bits(model) == before


def test_missing_weights(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist; train the network first"):
        load_weights(tmp_path / "w.safetensors", LeNet5())


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "does not say where its weights came from"),
        ({"provenance": "{"}, "provenance"),
        ({"provenance": json.dumps({"network": "lenet5"})}, "lacks best_epoch, code"),
    ],
    ids=["none", "broken", "partial"],
)
def test_weights_without_provenance_are_refused(tmp_path, metadata, message):
    path, model = tmp_path / "w.safetensors", LeNet5()
    path.write_bytes(safetensors.torch.save(LeNet5().state_dict(), metadata=metadata))
    before = _bits(model)
    with pytest.raises(CheckpointError, match=message):
        load_weights(path, model)
    assert _bits(model) == before


def test_a_refused_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    save_checkpoint(path, _state())
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*c\.pt: No space left on device; free"):
        save_checkpoint(path, _state())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]
