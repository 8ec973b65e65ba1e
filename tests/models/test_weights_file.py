"""Oracle: torch's own wrappers, names as they were published, and the bits that were saved."""

import argparse
import os
import random
import re
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchvision.models import DenseNet
from torchvision.models.vision_transformer import MLPBlock

from internals import Network
from internals.errors import CheckpointError
from internals.training import save_weights


def net() -> nn.Module:
    """A network with a counter, in which a part can be wrapped."""
    stem = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    return nn.Sequential(OrderedDict(stem=stem, head=nn.Linear(5, 3)))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.state_dict())


def load(path, model: nn.Module | None = None) -> Network:
    """A network, a fresh one by default, with the weights at `path`."""
    made = net() if model is None else model
    return Network.open(lambda: made, path, input_shape=(1, 8, 8))


def filled(path, content, model: nn.Module | None = None) -> list[Tensor]:
    """The tensors of a fresh network filled with `content` through a file."""
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=path.suffix != ".tar")
    return list(load(path, model).model.state_dict().values())


def same(ones, others) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


def below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


PREFIXES = (
    "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "module.module.", "model.",
    "net.", "learner.model.", "backbone._orig_mod.", "_forward_module.module.resnet.",
)  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".tar", ".safetensors"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_one_prefix_before_all_names_is_no_difference(tmp_path, prefix, suffix):
    state = state_of(net())
    assert same(filled(tmp_path / f"w{suffix}", below(prefix, state)), state.values())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m: nn.Sequential(OrderedDict(stem=nn.DataParallel(m.stem), head=m.head)),
        lambda m: nn.DataParallel(
            nn.Sequential(OrderedDict(stem=torch.compile(m.stem), head=m.head))
        ),
        lambda m: torch.compile(nn.DataParallel(m)),
        lambda m: AveragedModel(m),
        lambda m: AveragedModel(nn.DataParallel(torch.compile(m))),
    ],
)
def test_what_torchs_wrappers_save_fits_and_they_can_be_filled(tmp_path, wrap):
    model = net()
    state, wrapped = state_of(model), wrap(model)
    assert same(filled(tmp_path / "w.pth", state_of(wrapped)), state.values())
    blank = load(tmp_path / "w.pth", wrap(net())).model
    assert same(blank.state_dict().values(), wrapped.state_dict().values())
    plain = filled(tmp_path / "plain.pth", state, wrap(net()))
    assert same([t for t in plain if t.ndim], [t for t in state.values() if t.ndim])


def test_bare_weights_fill_the_network_in_the_one_attribute_of_another(tmp_path):
    holder = nn.ModuleDict({"model": net()})
    state = state_of(net())
    assert same(filled(tmp_path / "w.pth", state, holder), state.values())


def test_of_a_tensor_with_two_names_one_is_enough(tmp_path):
    """safetensors keeps no tensor twice."""

    def made() -> nn.Module:
        model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
        model["b"].weight = model["a"].weight
        return model

    state = state_of(made())
    for name in ("a.weight", "b.weight"):
        part = {key: tensor for key, tensor in state.items() if key != name}
        assert same(filled(tmp_path / "w.safetensors", part, made()), state.values())


KEYS = (
    "state_dict", "model_state_dict", "model", "network", "weights", "ema", "state_dict_ema",
    "model_ema", "module", "anything",
)  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_weights_are_found_under_any_key_of_a_checkpoint(tmp_path, key):
    state = state_of(net())
    optimizer = torch.optim.Adam(net().parameters())
    checkpoint = {
        "epoch": 3, "best": torch.tensor(71.3), "args": argparse.Namespace(lr=0.1),
        "optimizer": optimizer.state_dict(), key: state,
    }  # fmt: skip
    assert same(filled(tmp_path / "w.pth", checkpoint), state.values())
    assert same(filled(tmp_path / "w.pth", {"outer": {key: state}}), state.values())


def test_a_lightning_checkpoint_is_read(tmp_path):
    state = state_of(net())
    checkpoint = {
        "epoch": 1, "global_step": 10, "state_dict": below("model.", state), "loops": {"fit": {}},
        "hyper_parameters": {"lr": 0.1}, "callbacks": {"best": {"score": torch.tensor(0.5)}},
    }  # fmt: skip
    assert same(filled(tmp_path / "w.ckpt", checkpoint), state.values())


def test_of_raw_and_averaged_weights_the_raw_ones_are_taken_and_that_is_said(tmp_path, capsys):
    raw, average = state_of(net()), state_of(net())
    both = {"state_dict_ema": average, "arch": "net", "state_dict": raw}
    assert same(filled(tmp_path / "w.pth", both), raw.values())
    said = capsys.readouterr().err
    assert said.endswith(
        "w.pth has weights in 'state_dict' and 'state_dict_ema'; took 'state_dict'\n"
    )
    assert same(filled(tmp_path / "w.pth", {**both, "state_dict": {}}), average.values())
    assert capsys.readouterr().err == ""


def test_densenets_published_names_are_understood(tmp_path):
    small = DenseNet(4, (1, 2), 4, num_classes=2)
    state = state_of(small)
    published = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): tensor
        for name, tensor in state.items()
        if "num_batches" not in name
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in published
    blank = DenseNet(4, (1, 2), 4, num_classes=2)
    filled(tmp_path / "w.pth", {"state_dict": below("module.", published)}, blank)
    for name in published.keys() & state.keys():
        torch.testing.assert_close(blank.state_dict()[name], state[name], rtol=0, atol=0)
    assert torch.equal(blank.features.denseblock2.denselayer2.conv2.weight,
                       small.features.denseblock2.denselayer2.conv2.weight)  # fmt: skip


def test_older_names_that_modules_translate_themselves_are_understood(tmp_path):
    """torchvision's vision transformers were published with linear_1 for 0, and linear_2 for 3."""

    def made() -> nn.Module:
        return nn.Sequential(MLPBlock(2, 3, 0.0), nn.Linear(2, 2))

    state = state_of(made())
    old = {n.replace("0.0", "0.linear_1").replace("0.3", "0.linear_2"): t for n, t in state.items()}
    assert list(old)[:3] == ["0.linear_1.weight", "0.linear_1.bias", "0.linear_2.weight"]
    for content in (old, {"state_dict": below("model.", old)}):
        assert same(filled(tmp_path / "w.pth", content, made()), state.values())
    blank = made()
    before = [tensor.clone() for tensor in blank.state_dict().values()]
    del old["0.linear_2.bias"]
    with pytest.raises(CheckpointError, match="holds weights of another network"):
        filled(tmp_path / "w.pth", old, blank)
    assert same(blank.state_dict().values(), before)


class Nested(nn.Module):
    """Whose own attributes have the names that wrappers and scripts use."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(2, 2)
        self.model = nn.ModuleDict({"module": nn.Linear(2, 2)})
        self.weight = nn.Parameter(torch.ones(2, 2))


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.module."])
def test_names_of_the_networks_own_are_not_taken_for_wrappers(tmp_path, prefix):
    state = {name: torch.rand_like(tensor) for name, tensor in state_of(Nested()).items()}
    content = below(prefix, state)
    assert same(filled(tmp_path / "w.pth", content, Nested()), state.values())


@pytest.mark.parametrize(
    ("written", "named"),
    [("a.safetensors", "a.pth"), ("a.pth", "a.safetensors"), ("a.tar", "a.safetensors")],
)
def test_a_file_is_told_by_what_it_holds(tmp_path, written, named):
    state = state_of(net())
    filled(tmp_path / written, state)
    (tmp_path / written).rename(tmp_path / named)
    assert same(load(tmp_path / named).model.state_dict().values(), state.values())


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_file_of_weights_is_named(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"is empty; name a file of weights$"):
        load(path)
    path.write_text("version https://example.invalid\nsize 12\n")
    with pytest.raises(CheckpointError, match=r"is no file of weights but text; name a file"):
        load(path)
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))
    with pytest.raises(CheckpointError, match=r"is a TorchScript archive; save model.state_dict"):
        load(path)


# What does not fit


def without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if key not in names}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: below("encoder.", without(s, "head.weight", "head.bias")),
            "its names begin with 'encoder.'; without that, 'head.weight' is missing (and 1 more)",
        ),
        (
            lambda s: below("query.", s) | below("key.", s),
            "its names begin with 'query.'; without that, 'key.stem.0.weight' is in the file only "
            "(and 7 more)",
        ),
        (
            lambda s: below("model.", s) | {"loss.weight": torch.ones(2)},
            "its names begin with 'model.'; without that, 'loss.weight' is in the file only",
        ),
        (
            # The rest of the names must not be filled in from elsewhere.
            lambda s: below("model.", without(s, "head.bias")) | {"head.bias": s["head.bias"]},
            "without that, 'head.bias' is missing; 'head.bias' is in the file only",
        ),
        (
            lambda s: without(s, "stem.0.weight") | {"a": torch.ones(1), "b": torch.ones(1)}
            | {"head.bias": torch.ones(9)},
            "Sequential: 'stem.0.weight' is missing; 'a' is in the file only (and 1 more); "
            "'head.bias' is (9,) in the file and (3,) in the network",
        ),
        (
            lambda s: s | {"head.bias": s["head.bias"].to(torch.complex64)},
            "'head.bias' is complex in the file and real in the network",
        ),
        (lambda s: s | {"head.bias": "text"}, "'head.bias' is missing"),
        (lambda s: {0: torch.ones(2)} | s, "holds no state dict; save model.state_dict()"),
        (lambda s: {"state_dict": {}}, "holds no state dict; save model.state_dict()"),
        (
            lambda s: s | {"head.bias": s["head.bias"].to_sparse()},
            "cannot be used: 'head.bias' holds no plain numbers",
        ),
        (
            lambda s: s | {"head.bias": torch.tensor([0, torch.nan, 0])},
            "cannot be used: 'head.bias' holds NaN",
        ),
        (
            lambda s: s | {"head.bias": torch.tensor([0, torch.inf, 0])},
            "cannot be used: 'head.bias' holds infinity",
        ),
        (
            lambda s: s | {"head.bias": torch.tensor([0, 1e60, 0], dtype=torch.float64)},
            "cannot be used: 'head.bias' holds infinity",  # in the network's single precision
        ),
        (
            lambda s: s | {"stem.1.running_var": torch.full((2,), torch.nan)},
            "cannot be used: 'stem.1.running_var' holds NaN",
        ),
        (
            lambda s: s | {"stem.1.running_mean": torch.tensor([0, torch.inf])},
            "cannot be used: 'stem.1.running_mean' holds infinity",
        ),
        (
            lambda s: s | {"stem.1.running_var": torch.tensor([1, -torch.inf])},
            "cannot be used: 'stem.1.running_var' holds infinity",
        ),
        (
            lambda s: s | {"stem.1.running_var": torch.tensor([1, -0.5])},
            "cannot be used: 'stem.1.running_var' holds a negative variance",
        ),
        (
            lambda s: s | {"head.weight": (127 * s["head.weight"]).to(torch.int8)},
            "'head.weight' is int8 in the file and float32 in the network",
        ),
        (
            lambda s: s | {"stem.1.running_var": torch.tensor([True, True])},
            "'stem.1.running_var' is bool in the file and float32 in the network",
        ),
        (
            lambda s: {"state_dict": s, "optimizer": re.compile("x")},
            "is damaged, or holds more than weights (re._compile); save model.state_dict() alone",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_and_leaves_the_network_as_it_was(tmp_path, change, message):
    model = net()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    with pytest.raises(CheckpointError) as raised:
        filled(tmp_path / "w.pth", change(state_of(net())), model)
    assert message in str(raised.value) and "\n" not in str(raised.value)
    assert same(model.state_dict().values(), before)


def test_an_infinite_mask_is_no_damage(tmp_path):
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    blank = nn.Linear(2, 2)
    blank.register_buffer("mask", torch.zeros(2, 2))
    assert same(filled(tmp_path / "w.pth", state_of(model), blank), state_of(model).values())


# Damage


def test_a_pipe_is_not_waited_for(tmp_path):
    for suffix in (".pth", ".safetensors"):
        pipe = tmp_path / f"w{suffix}"
        os.mkfifo(pipe)
        reading = ThreadPoolExecutor(1).submit(load, pipe)
        try:
            with pytest.raises(CheckpointError, match="is not a file but a pipe, socket or device"):
                reading.result(timeout=20)
        finally:
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # whoever waits goes on
    with pytest.raises(CheckpointError, match="/dev/zero is not a file"):
        load("/dev/zero")
    with pytest.raises(CheckpointError, match="too long"):
        load("w" * 300)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """One place of `content` overwritten, cut out, added to, or all from there on cut off."""
    start = chance.randrange(len(content))
    kind = chance.randrange(6)
    if kind == 0:
        return content[:start]
    noise = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 5)))
    if kind == 1:
        return content[:start] + noise + content[start:]
    if kind == 2:
        return content[:start] + content[start + len(noise) :]
    return content[:start] + noise[:1] + content[start + 1 :]


@pytest.mark.parametrize("name", ["zip.pth", "legacy.tar", "st.safetensors"])
def test_whatever_is_damaged_is_read_or_refused_in_one_line(tmp_path, name):
    path = tmp_path / name
    filled(path, state_of(net()) if name.startswith("st") else {"model": state_of(net())})
    whole, chance, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(200):
        path.write_bytes(damaged(whole, chance))
        try:
            load(path)
        except CheckpointError as error:
            refused += 1
            assert str(error).isprintable()
    assert refused > 80


def test_one_wrong_bit_in_an_archive_is_noticed_where_it_has_checksums(tmp_path):
    path, state = tmp_path / "w.pth", state_of(net())
    filled(path, state)
    whole = bytearray(path.read_bytes())
    whole[whole.index(state["head.weight"].numpy().tobytes()) + 2] ^= 1  # of a mantissa
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"w\.pth is damaged \(the checksum of "):
        load(path)
    torch.serialization.set_crc32_options(False)
    try:
        assert same(filled(path, state), state.values())
    finally:
        torch.serialization.set_crc32_options(True)


def test_a_damaged_file_of_ours_is_noticed_wherever_the_damage_is(tmp_path):
    path = tmp_path / "w.safetensors"
    recipe = {"network": "lenet5", "size": 32, "pipeline": "mean-std"}
    save_weights(path, nn.Linear(3, 2), provenance={"network": "lenet5", "recipe": recipe})
    assert load(path, nn.Linear(3, 2)).resolved.provenance["recipe"] == recipe
    whole = path.read_bytes()
    assert whole.count(b"provenance") == whole.count(b"sha256") == 1
    for place in range(0, len(whole), 2):
        if whole[place : place + 1] == b" ":  # between words of the header: nothing changes
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            load(path, nn.Linear(3, 2))


def test_facts_of_others_under_our_words_are_theirs(tmp_path):
    state = state_of(net())
    for metadata in ({"provenance": "my own laptop"}, {"sha256": "0" * 64, "format": "pt"}):
        path = tmp_path / "w.safetensors"
        safetensors.torch.save_file(state, path, metadata)
        opened = load(path)
        assert opened.resolved.provenance is None and opened.resolved.weights.statistics is None
        assert same(opened.model.state_dict().values(), state.values())
