"""Oracle: files damaged on purpose, byte by byte; the bytes that were there before."""

import hashlib
import json
import random
from collections.abc import Iterator

import pytest
import safetensors.torch
import torch

from internals.errors import CheckpointError, OutputError
from internals.models import LeNet5, hash_tensors
from internals.training import (
    Provenance,
    load_checkpoint,
    load_tensors,
    load_weights,
    save_checkpoint,
    save_tensors,
    save_weights,
    tensor_bytes,
)
from tests.reference.pipes import pipe_at
from tests.reference.small_disk import largest_file

_FACTS = {"provenance": {"seed": 1, "metrics": {"top1": 0.5}}, "history": [{"number": 1}]}


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


def _damages(content: bytes) -> Iterator[tuple[str, bytes]]:
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


def test_weights_and_facts_round_trip(tmp_path):
    model, other = LeNet5(), LeNet5()
    save_weights(tmp_path / "w.safetensors", model, **_FACTS)
    assert load_weights(tmp_path / "w.safetensors", other) == _FACTS
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


def test_any_damage_to_weights_is_one_error_and_model_and_file_stay(tmp_path):
    path, model = tmp_path / "w.safetensors", LeNet5()
    save_weights(path, LeNet5(), **_FACTS)
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


def _header(content: bytes) -> dict:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["__metadata__"].update(history="[]"),
        lambda header: header["__metadata__"].update(extra="1"),
        lambda header: header["__metadata__"].pop("provenance"),
        lambda header: header["__metadata__"].pop("sha256"),
        lambda header: header.pop("__metadata__"),
        lambda header: header.update(b=header.pop("a")),
        lambda header: header["a"].update(shape=[3, 2]),
        lambda header: header["a"].update(dtype="I32"),
    ],
    ids=["fact", "new fact", "lost fact", "no sum", "no facts", "name", "shape", "type"],
)
def test_whatever_is_changed_in_a_header_is_noticed(tmp_path, change):
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": torch.arange(6.0).view(2, 3)}, **_FACTS)
    content = path.read_bytes()
    header = _header(content)
    change(header)
    written = json.dumps(header).encode()
    body = content[8 + int.from_bytes(content[:8], "little") :]
    path.write_bytes(len(written).to_bytes(8, "little") + written + body)
    safetensors.torch.load_file(path)  # safetensors itself has nothing against it
    with pytest.raises(CheckpointError, match=r"is damaged .*; delete it and it is made again"):
        load_tensors(path)


def test_the_hash_of_tensors_is_of_their_bytes_in_the_order_of_their_names():
    tensors = {"b": torch.arange(3.0), "a": torch.arange(6, dtype=torch.int16).view(2, 3).t()}
    digest = hashlib.sha256(tensors["a"].contiguous().numpy().tobytes())
    digest.update(tensors["b"].numpy().tobytes())
    assert hash_tensors(tensors) == digest.hexdigest()


def test_weights_of_another_network_are_refused(tmp_path):
    path, model = tmp_path / "w.safetensors", LeNet5()
    save_weights(path, LeNet5(paper=True), **_FACTS)
    before = _bits(model)
    with pytest.raises(CheckpointError, match="holds weights of another network than LeNet5"):
        load_weights(path, model)
    assert _bits(model) == before


def test_missing_weights(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist; train the network first"):
        load_weights(tmp_path / "w.safetensors", LeNet5())


@pytest.mark.parametrize("metadata", [None, {"provenance": "{"}], ids=["none", "broken"])
def test_weights_of_others_are_refused(tmp_path, metadata):
    path, model = tmp_path / "w.safetensors", LeNet5()
    path.write_bytes(safetensors.torch.save(LeNet5().state_dict(), metadata=metadata))
    before = _bits(model)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_weights(path, model)
    assert _bits(model) == before


@pytest.mark.parametrize(
    ("values", "missing"),
    [(None, "all facts"), ([], "all facts"), ({"network": "lenet5"}, "best_epoch, code, commit")],
)
def test_provenance_that_lacks_facts_is_refused(values, missing):
    with pytest.raises(CheckpointError, match=f"provenance lacks {missing}.*; train again"):
        Provenance.from_dict(values)


def _write(path, save: str) -> None:
    if save == "checkpoint":
        save_checkpoint(path, _state())
    else:
        save_tensors(path, _state()["model"])


@pytest.mark.parametrize("missing", [100_000, 4096, 33, 32, 10, 1])
@pytest.mark.parametrize("save", ["checkpoint", "tensors"])
def test_a_refused_write_leaves_the_old_file(tmp_path, save, missing):
    """Down to the last byte, of which a system says only that it took the others."""
    path = tmp_path / "f"
    torch.manual_seed(0)
    _write(path, save)
    before = path.read_bytes()
    torch.manual_seed(0)
    with (
        largest_file(len(before) - missing),
        pytest.raises(OutputError, match=r"cannot write .*f: File too large; free some space"),
    ):
        _write(path, save)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("load", [load_checkpoint, load_tensors])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, load):
    with pipe_at(tmp_path / "pipe"), pytest.raises(CheckpointError, match="it is no file; delete"):
        load(tmp_path / "pipe")
    for other in (tmp_path, "/dev/zero"):  # which has no end
        (tmp_path / "link").symlink_to(other)
        with pytest.raises(CheckpointError, match=r"link cannot be read: it is no file; delete"):
            load(tmp_path / "link")
        (tmp_path / "link").unlink()


def test_provenance_of_other_types_is_refused():
    facts = {
        "network": "lenet5", "recipe": {}, "seed": 1, "data": "", "data_fingerprint": "",
        "images": [], "code": "", "device": "cpu", "devices": 1, "precision": "32-true",
        "threads": 1, "epochs": 2, "best_epoch": 1, "seconds": 3.0, "images_per_second": 0.5,
        "metrics": {}, "weights_sha256": "", "versions": {}, "python": "", "machine": "",
        "commit": "", "finished": "",
    }  # fmt: skip
    assert Provenance.from_dict(facts).seconds == 3
    for name, value in facts.items():
        wrong = {**facts, name: 1 if isinstance(value, str | dict | list) else "1"}
        with pytest.raises(CheckpointError, match=f"provenance is none \\({name} of Provenance is"):
            Provenance.from_dict(wrong)
