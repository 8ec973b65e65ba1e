"""`make bench`: how fast projecting and mining are, beside the usual ways."""

import statistics
import time
import warnings
from collections.abc import Callable

import torch
import torchvision
from captum.attr import NeuronGuidedBackprop
from torch import nn

from internals.activations import Unit, strongest
from internals.environment import cores
from internals.projection import project


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The median time of `work`, after one run that does not count."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def projecting(name: str, net: nn.Module, layer: str) -> None:
    """Print the seconds a (image, unit) pair against Captum, one unit at a time."""
    images = torch.randn(9, 3, 224, 224)
    unit = Unit(layer, 0, 5, 5)
    usual = NeuronGuidedBackprop(net, net.get_submodule(layer))

    def captum() -> None:
        usual.attribute(images[:1], (unit.channel, unit.row, unit.column))

    theirs = seconds(captum)
    ours = seconds(lambda: project(net, images, [unit] * 9)) / 9
    print(
        f"project {name} {layer}: {ours:.4f} s a pair, Captum {theirs:.4f} s: {theirs / ours:.1f}x"
    )


def mining(name: str, net: nn.Module) -> None:
    """Print the time of mining all convolutions against a bare forward pass."""
    images = torch.randn(32, 3, 224, 224)
    layers = [path for path, module in net.named_modules() if isinstance(module, nn.Conv2d)]

    def forward() -> None:
        with torch.inference_mode():
            for start in range(0, len(images), 16):
                net(images[start : start + 16])

    bare = seconds(forward)
    ours = seconds(lambda: strongest(net, images, layers, batch=16))
    print(f"strongest {name}, {len(layers)} convolutions: {ours / bare:.2f}x a bare forward pass")


def main() -> None:
    """Run every benchmark."""
    warnings.filterwarnings("ignore")  # Captum announces its hooks at every call
    torch.manual_seed(0)
    torch.set_num_threads(cores())
    alexnet = torchvision.models.alexnet(weights=None).eval()
    for layer in ("features.3", "features.10"):
        projecting("AlexNet", alexnet, layer)
    mining("AlexNet", alexnet)


if __name__ == "__main__":
    main()
