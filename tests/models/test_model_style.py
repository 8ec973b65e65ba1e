"""Oracle: the syntax trees of the model files, and the order in which a traced pass runs them."""

import ast
from pathlib import Path

import pytest
import torch

import internals.models.catalogue
from internals.models.catalogue import MODELS, build

_FILES = sorted(Path(internals.models.catalogue.__file__).parent.glob("*.py"))
_NON_LINEARITIES = frozenset(
    """relu relu_ relu6 tanh tanh_ sigmoid sigmoid_ clamp clamp_ clamp_min clip silu gelu elu selu
    leaky_relu prelu hardtanh hardswish hardsigmoid softplus mish threshold softmax""".split()
)
# The one module that is itself a non-linearity and has to compute it.
_OWN = {("lenet5_parts.py", "ScaledTanh", "tanh")}


def _violations(source: str, file: str) -> list[str]:
    found = []
    for scope in ast.walk(ast.parse(source)):
        if not isinstance(scope, ast.ClassDef):
            continue
        for node in ast.walk(scope):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if called in _NON_LINEARITIES and (file, scope.name, called) not in _OWN:
                found.append(f"{file}:{node.lineno}: {called}()")
            for keyword in node.keywords:
                if keyword.arg == "inplace" and getattr(keyword.value, "value", None) is not False:
                    found.append(f"{file}:{node.lineno}: inplace")
    return found


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_no_functional_non_linearity_and_nothing_in_place(path):
    assert _violations(path.read_text(), path.name) == []


def test_the_check_sees_what_it_forbids():
    bad = "class N:\n def forward(self, x):\n  x = F.relu(x)\n  return nn.ReLU(inplace=True)(x)\n"
    assert _violations(bad, "bad.py") == ["bad.py:3: relu()", "bad.py:4: inplace"]


@pytest.mark.parametrize("name", MODELS)
def test_layers_stand_in_call_order_and_are_used_once(name):
    model = build(name)
    leaves = [n for n, m in model.named_modules() if not list(m.children())]
    paths = {m: n for n, m in model.named_modules()}
    called = []
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, *_: called.append(paths[m]))
    size = 28 if name == "lenet5-28" else 32
    with torch.no_grad():
        model(torch.zeros(1, 1, size, size))
    assert called == leaves
