"""Oracle: what was saved, compared bit by bit with what is read."""

import pytest
import torch

from internals.activations.mining import strongest
from internals.activations.strongest_file import load_strongest, save_strongest
from internals.errors import DataError, OutputError
from internals.models.lenet5 import LeNet5


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    return strongest(LeNet5(), torch.randn(13, 1, 32, 32), ["conv1", "linear"], k=5)


def test_what_is_read_is_what_was_saved(found, tmp_path):
    path = tmp_path / "kept" / "lenet5.safetensors"
    save_strongest(path, found, {"images": "noise", "seed": "0"})
    read, about = load_strongest(path)
    assert about == {"images": "noise", "seed": "0"}
    assert list(read) == ["conv1", "linear"]
    for layer, table in read.items():
        assert table.layer == layer
        for field in ("image", "row", "column", "value"):
            ours, theirs = getattr(table, field), getattr(found[layer], field)
            assert ours.dtype == theirs.dtype
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert read["conv1"].units(3) == found["conv1"].units(3)


@pytest.mark.parametrize("spoil", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"not a table at all"])
def test_a_spoilt_file_is_one_line(found, tmp_path, spoil):
    path = tmp_path / "lenet5.safetensors"
    path.write_bytes(spoil)
    with pytest.raises(DataError, match=r"lenet5.safetensors is damaged or no file of"):
        load_strongest(path)
    assert path.read_bytes() == spoil


def test_a_cut_file_is_one_line(found, tmp_path):
    path = tmp_path / "lenet5.safetensors"
    save_strongest(path, found, {})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match="damaged"):
        load_strongest(path)


def test_missing_and_unwritable(found, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_strongest(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_strongest(tmp_path / "file" / "below", found, {})
