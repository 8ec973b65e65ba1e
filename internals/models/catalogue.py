"""Networks by name."""

import importlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from internals.errors import InternalsError

# name -> (module, class, arguments). Modules are named, not imported, so that an edit of one
# network is no reason to train another again.
MODELS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "lenet5": ("internals.models.lenet5", "LeNet5", {}),
    "lenet5-paper": ("internals.models.lenet5", "LeNet5", {"paper": True}),
    "lenet5-softmax": ("internals.models.lenet5_variants", "LeNet5Softmax", {}),
    "lenet5-variant": ("internals.models.lenet5_laboratory", "LeNet5Variant", {}),
    "lenet5-28": ("internals.models.lenet5_variants", "LeNet5Max28", {}),
    "alexnet": ("internals.models.alexnet", "AlexNet", {}),
    "alexnet-paper": ("internals.models.alexnet", "AlexNet", {"paper": True}),
    "vgg16": ("internals.models.vgg16", "VGG16", {}),
    "inceptionnet": ("internals.models.inceptionnet", "InceptionNet", {}),
    "googlenet-paper": ("internals.models.inceptionnet", "InceptionNet", {"paper": True}),
    "resnet18": ("internals.models.resnet18", "ResNet18", {}),
    "resnet18-a": ("internals.models.resnet18", "ResNet18", {"shortcut": "A"}),
    "plain18": ("internals.models.resnet18", "ResNet18", {"shortcut": "none"}),
    "mobilenet": ("internals.models.mobilenet", "MobileNet", {}),
}


def build(name: str, **arguments: Any) -> nn.Module:
    """Build the network `name` of `MODELS`, freshly initialised from torch's random state.

    Further `arguments` go to the network's class. Raises `InternalsError` for an unknown name.
    """
    if name not in MODELS:
        raise InternalsError(f"unknown network {name!r}; known are {', '.join(MODELS)}")
    module, class_name, fixed = MODELS[name]
    return partial(getattr(importlib.import_module(module), class_name), **fixed)(**arguments)
