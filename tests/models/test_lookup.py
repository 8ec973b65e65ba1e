"""Oracle: torchvision's own builders, and small networks that the test writes itself."""

import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import ResNet, get_model

from internals.errors import CheckpointError, ModelError
from internals.models import LeNet5, ResNet18, build, resolve, resolve_model
from internals.training import save_weights

OWN = """
from torch import nn

class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

made = Tiny()

class Shelf:
    @staticmethod
    def take():
        return Tiny()

def number(): return 3
def wants(width): return Tiny()
def fails(): raise RuntimeError("out\\nof luck")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A package `mine` with the module `nets`, in the working folder and not on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    (tmp_path / "mine" / "nets.py").write_text(OWN)
    (tmp_path / "mine" / "broken.py").write_text("1 / 0")
    return tmp_path


@pytest.mark.parametrize("name", ["Tiny", "made", "Shelf.take"])
def test_whatever_gives_a_module_can_be_imported(own, name):
    model = resolve_model(f"mine.nets:{name}")
    assert type(model).__name__ == "Tiny" and not model.training


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.nets:make", "cannot import 'nowhere.nets': ModuleNotFoundError: No module"),
        ("mine.broken:make", "cannot import 'mine.broken': ZeroDivisionError: division by zero"),
        ("mine.nets:tiny", "mine.nets has no 'tiny'; nearest: Tiny"),
        ("mine.nets:number", "mine.nets:number gives int, not a torch.nn.Module"),
        ("mine.nets:wants", "cannot be called without arguments: missing a required argument"),
        ("mine.nets:fails", "mine.nets:fails failed: RuntimeError: out of luck"),
        ("mine.nets:", "is not of the form package.module:callable"),
        ("mine/nets.py:Tiny", "is not of the form package.module:callable"),
        ("resnet81", "unknown network 'resnet81'; nearest: resnet18, "),
        ("lenet6", "unknown network 'lenet6'; nearest: lenet5, "),
    ],
)
def test_what_is_no_network_is_one_line(own, name, message):
    with pytest.raises(ModelError) as raised:
        resolve_model(name)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_our_names_and_torchvisions():
    assert isinstance(resolve_model("lenet5"), LeNet5)
    torch.manual_seed(3)
    ours = resolve_model("SqueezeNet1_1")
    torch.manual_seed(3)
    theirs = get_model("squeezenet1_1", weights=None).eval()
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(ours(image), theirs(image), rtol=0, atol=0)


def test_a_name_is_resolved_with_what_is_known_about_the_network(own):
    for name, origin in (
        ("lenet5", "ours"),
        ("SqueezeNet1_1", "torchvision"),
        ("mine.nets:made", "imported"),
        ("internals.models:LeNet5", "imported"),
    ):
        resolved = resolve(name)
        assert (resolved.name, resolved.origin, resolved.provenance) == (name, origin, None)
        assert not resolved.model.training
        assert (resolved.preparation is not None) == (origin == "torchvision")


def _trained(path, network: str, **more) -> None:
    """Weights as our training leaves them, of a network of ours."""
    recipe = {"network": network, "size": 64, "pipeline": "mean-std", **more}
    model = build(network, **dict(recipe.get("arguments", ())))
    save_weights(path, model, provenance={"network": network, "recipe": recipe})


def test_a_name_that_two_have_is_torchvisions_unless_the_weights_are_ours(tmp_path):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    _trained(ours, "resnet18", arguments=[["num_classes", 3]])
    safetensors.torch.save_file(get_model("resnet18", weights=None).state_dict(), theirs)
    assert isinstance(resolve_model("resnet18"), ResNet)
    assert isinstance(resolve_model("resnet18", theirs), ResNet)
    actual = resolve_model("resnet18", ours)
    assert isinstance(actual, ResNet18) and actual.fc.out_features == 3
    assert isinstance(resolve_model("internals.models:ResNet18"), ResNet18)
    assert resolve("resnet18", ours).preparation is None and resolve("resnet18", theirs).preparation
    assert resolve("resnet18", ours).provenance["recipe"]["size"] == 64
    assert resolve("resnet18", theirs).provenance is None
    with pytest.raises(CheckpointError, match="holds weights of another network than AlexNet"):
        resolve_model("alexnet", ours)
    for name in ("mobilenet", "lenet5-28"):
        assert resolve(name).origin == "ours" and not resolve(name).ambiguous
    for name, weights, origin in (
        ("resnet18", None, "torchvision"),
        ("resnet18", theirs, "torchvision"),
        ("resnet18", ours, "ours"),
    ):
        resolved = resolve(name, weights)
        assert resolved.ambiguous and resolved.origin == origin


def test_nothing_that_detects_or_segments_is_offered():
    with pytest.raises(ModelError, match="unknown network 'fasterrcnn_resnet50_fpn'"):
        resolve_model("fasterrcnn_resnet50_fpn")


def test_published_files_fit_googlenet_although_they_hold_its_auxiliary_heads(tmp_path):
    """The input of the published weights is turned from ImageNet's range: so is ours."""
    theirs = get_model("googlenet", weights=None, aux_logits=True, init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "googlenet.pth")
    model = resolve_model("googlenet", tmp_path / "googlenet.pth").double()
    assert not [name for name, _ in model.named_modules() if name.startswith("aux")]
    theirs.transform_input = True
    theirs.double().eval()
    pixels = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).double()
    wanted = theirs((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    size, own_mean, own_std = resolve("googlenet").preparation
    given = (pixels - own_mean[0]) / own_std[0]
    torch.testing.assert_close(model(given), wanted, rtol=1e-6, atol=1e-9)
    assert (size, len(set(own_mean + own_std))) == (224, 1)


def test_torchvision_says_what_its_networks_were_trained_on():
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert resolve("resnet18").preparation == (224, *imagenet)
    assert resolve("inception_v3").preparation.size == 299


# Weights


def net() -> nn.Module:
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2), head=nn.Linear(5, 3))
    )


@pytest.fixture
def saved(own) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A network of the same shape as the one below, and its state."""
    (own / "mine" / "nets.py").write_text(
        "from collections import OrderedDict\nfrom torch import nn\ndef net():\n"
        "    return nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2), "
        "head=nn.Linear(5, 3)))\n"
    )
    model = net()
    nn.init.normal_(model.norm.running_mean)
    return model, model.state_dict()


FILES = {
    "plain.pth": lambda state: state,
    "checkpoint.pt": lambda state: {"state_dict": state, "epoch": 3},
    "torchvision.pth": lambda state: {"model": state, "epoch": 3},
    "parallel.pth": lambda state: {"state_dict": {f"module.{n}": t for n, t in state.items()}},
    "compiled.pth": lambda state: {f"_orig_mod.{n}": t for n, t in state.items()},
    "both.pth": lambda state: {f"module._orig_mod.{n}": t for n, t in state.items()},
    "half.pth": lambda state: {
        n: t.half() if t.is_floating_point() else t for n, t in state.items()
    },
    "before-2018.pth": lambda state: {n: t for n, t in state.items() if "num_batches" not in n},
    "own.safetensors": lambda state: state,
}


@pytest.mark.parametrize("name", FILES)
def test_weights_arrive_from_every_kind_of_file(saved, tmp_path, name):
    _, state = saved
    path = tmp_path / name
    content = FILES[name](state)
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    filled = resolve_model("mine.nets:net", path).state_dict()
    close = 1e-3 if name == "half.pth" else 0
    for key, tensor in state.items():
        torch.testing.assert_close(filled[key], tensor, rtol=close, atol=close)


def test_a_network_that_is_itself_called_module_keeps_its_names(own):
    (own / "mine" / "nets.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.module = nn.Linear(2, 2)\n"
    )
    state = {"module.weight": torch.eye(2), "module.bias": torch.ones(2)}
    torch.save(state, own / "w.pth")
    model = resolve_model("mine.nets:Net", own / "w.pth")
    assert model.module.weight.tolist() == [[1, 0], [0, 1]]


def _without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: _without(s, "norm.weight"), "'norm.weight' is missing"),
        (lambda s: {**s, "extra": torch.ones(2)}, "'extra' is in the file only"),
        (
            lambda s: {**s, "head.weight": torch.ones(7, 5)},
            r"'head.weight' is \(7, 5\) in the file and \(3, 5\) in the network",
        ),
        (
            lambda s: {**_without(s, "norm.bias"), "head.bias": torch.ones(4)},
            "of another network than Sequential: 'norm.bias' is missing",
        ),
        (lambda s: [1, 2], "holds no state dict; save model.state_dict()"),
        (lambda s: {"epoch": 3}, "holds no state dict; save model.state_dict()"),
    ],
)
def test_weights_of_another_network_are_refused_by_the_first_odd_name(
    saved, tmp_path, change, message
):
    torch.save(change(saved[1]), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message) as raised:
        resolve_model("mine.nets:net", tmp_path / "w.pth")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("damage", ["missing", "folder", "empty", "cut", "text"])
def test_damaged_files_are_one_line(saved, tmp_path, suffix, damage):
    path = tmp_path / f"w{suffix}"
    save = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
    if damage == "folder":
        path.mkdir()
    elif damage == "text":
        path.write_text("weights, honestly\n" * 20)
    elif damage != "missing":
        save(saved[1], path)
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else path.stat().st_size // 2])
    with pytest.raises(CheckpointError) as raised:
        resolve_model("mine.nets:net", path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_that_would_run_code_is_refused(saved, tmp_path):
    torch.save(saved[0], tmp_path / "whole.pth")  # a pickled network, code and all
    with pytest.raises(CheckpointError, match="holds more than weights"):
        resolve_model("mine.nets:net", tmp_path / "whole.pth")


# What a network of one's own does besides


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("import sys\nsys.exit(0)", "late", "cannot import 'mine.nets': SystemExit: 0"),
        ("def late():\n    raise SystemExit", "late", "mine.nets:late failed: SystemExit"),
        (
            "class Stop(BaseException): pass\ndef late(): raise Stop('now')",
            "late",
            "mine.nets:late failed: Stop: now",
        ),
        (
            "import sys\nfrom torch import nn\nclass late(nn.Linear):\n"
            "    def __init__(self): super().__init__(2, 2)\n"
            "    def train(self, mode=True): sys.exit('no mode')",
            "late",
            "mine.nets:late failed: SystemExit: no mode",
        ),
    ],
)
def test_a_network_that_ends_the_program_is_one_line(own, text, name, message):
    (own / "mine" / "nets.py").write_text(text)
    with pytest.raises(ModelError) as raised:
        resolve_model(f"mine.nets:{name}")
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_who_interrupts_a_network_of_their_own_is_heard(own):
    (own / "mine" / "nets.py").write_text("def late(): raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        resolve_model("mine.nets:late")


WRAPPERS = (
    "torch.compile(net())",
    "nn.DataParallel(net())",
    "nn.DataParallel(torch.compile(net()))",
)


@pytest.mark.parametrize("made", WRAPPERS)
def test_weights_are_loaded_into_compiled_and_parallel_networks(saved, made):
    _, state = saved
    with Path("mine/nets.py").open("a") as file:
        file.write(f"import torch\ndef wrapped(): return {made}\n")
    for content in (state, {f"_orig_mod.module.{n}": t for n, t in state.items()}):
        torch.save(content, "w.pth")
        actual = resolve_model("mine.nets:wrapped", "w.pth").state_dict().values()
        for one, other in zip(actual, state.values(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    "arguments",
    [3, None, [["unknown", 1]], [[1, 2, 3]], [["num_classes", -4]], {"num_classes": "x"}],
)
def test_odd_arguments_that_weights_claim_for_their_network_are_one_line(tmp_path, arguments):
    recipe = {"network": "lenet5", "arguments": arguments}
    path = tmp_path / "w.safetensors"
    save_weights(path, build("lenet5"), provenance={"network": "lenet5", "recipe": recipe})
    with pytest.raises(ModelError, match=r"w.safetensors states no form of lenet5 that can be bu"):
        resolve_model("lenet5", path)


def test_a_network_whose_mode_is_fixed_is_used_as_it_is(own):
    (own / "mine" / "nets.py").write_text(
        "from torch import nn\n"
        "class Fixed(nn.Conv2d):\n"
        "    def __init__(self): super().__init__(3, 4, 3)\n"
        "    def eval(self): raise NotImplementedError('Calling eval() is not supported yet.')\n"
    )
    assert type(resolve_model("mine.nets:Fixed")).__name__ == "Fixed"
