"""Oracle: the syntax trees of the model files, and the order in which a traced pass runs them."""

import ast
from pathlib import Path

import pytest
import torch

import internals.models
from internals.models import MODELS, build

_FILES = sorted(Path(internals.models.__file__).parent.glob("*.py"))
_NON_LINEARITIES = frozenset(
    """relu relu_ relu6 tanh tanh_ sigmoid sigmoid_ clamp clamp_ clamp_min clip silu gelu elu selu
    leaky_relu prelu hardtanh hardswish hardsigmoid softplus mish threshold softmax""".split()
)
# The one module that is itself a non-linearity and has to compute it.
_OWN = {("lenet5.py", "ScaledTanh", "tanh")}


def _violations(source: str, file: str) -> list[str]:
    actual = []
    for scope in ast.walk(ast.parse(source)):
        if not isinstance(scope, ast.ClassDef):
            continue
        for node in ast.walk(scope):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if called and ast.unparse(node.func.value) == "self":
                called = ""  # a module of ours, as relu6 is, the sixth ReLU of a network
            if called in _NON_LINEARITIES and (file, scope.name, called) not in _OWN:
                actual.append(f"{file}:{node.lineno}: {called}()")
            for keyword in node.keywords:
                if keyword.arg == "inplace" and getattr(keyword.value, "value", None) is not False:
                    actual.append(f"{file}:{node.lineno}: inplace")
    return actual


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_no_functional_non_linearity_and_nothing_in_place(path):
    assert _violations(path.read_text(), path.name) == []


def test_the_check_sees_what_it_forbids():
    bad = "class N:\n def forward(self, x):\n  x = F.relu(x)\n  return nn.ReLU(inplace=True)(x)\n"
    assert _violations(bad, "bad.py") == ["bad.py:3: relu()", "bad.py:4: inplace"]
    numbered = "class N:\n def forward(self, x):\n  return self.relu6(x).relu6()\n"
    assert _violations(numbered, "bad.py") == ["bad.py:3: relu6()"]


_SHAPES = {"lenet5-28": (1, 28, 28), "alexnet-paper": (3, 227, 227)}
# ResNet lists a projection after the ReLU of its block, as the first edition prints it; but what
# the ReLU rectifies is the sum that the projection feeds.
_LISTED_AFTER = {"relu7": "bn_proj1", "relu11": "bn_proj2", "relu15": "bn_proj3"}


@pytest.mark.parametrize("name", MODELS)
def test_layers_stand_in_call_order_and_are_used_once(name):
    # LeNet-5 is small enough to be run; of the others only the order of the calls is needed.
    device = "cpu" if name.startswith("lenet5") else "meta"
    with torch.device(device):
        model = build(name)
    leaves = [n for n, m in model.named_modules() if not list(m.children())]
    paths = {m: n for n, m in model.named_modules()}
    called = []
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, *_: called.append(paths[m]))
    shape = _SHAPES.get(name, (1, 32, 32) if name.startswith("lenet5") else (3, 224, 224))
    with torch.no_grad():
        model(torch.zeros(1, *shape, device=device))
    assert called == (_with_projections_first(leaves) if name == "resnet18" else leaves)


def _with_projections_first(leaves: list[str]) -> list[str]:
    leaves = list(leaves)
    for relu, projection in _LISTED_AFTER.items():
        leaves.remove(relu)
        leaves.insert(leaves.index(projection) + 1, relu)
    return leaves
