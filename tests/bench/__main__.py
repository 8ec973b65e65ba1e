"""`make bench`: how fast projecting and mining are, beside the usual ways, measured in one run."""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
import torchvision
from captum.attr import NeuronGuidedBackprop
from torch import nn

from internals.activations.mining import strongest
from internals.activations.unit import Unit
from internals.anatomy.trace import trace
from internals.environment import cores
from internals.projection.backward import project

IMAGES, CHANNELS = 9, 6
LAYERS = {  # an early, a middle and the last convolution
    "alexnet": ("features.3", "features.6", "features.10"),
    "vgg16": ("features.7", "features.21", "features.28"),
}


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The median time of `work`, after one run that does not count."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def truncated(net: nn.Sequential, images: torch.Tensor, units: list[Unit], of: list[int]) -> None:
    """Guided backpropagation on whole images that stops at the layer, one unit at a time."""
    depth = int(units[0].layer.partition(".")[2])
    for unit, number in zip(units, of, strict=True):
        image = images[number : number + 1].clone().requires_grad_()
        output = net.features[: depth + 1](image)
        torch.autograd.grad(output[0, unit.channel, unit.row, unit.column], image)


def projecting(name: str, net: nn.Module, layer: str, repeats: int) -> None:
    """Seconds a (image, unit) pair at the channels' strongest units, ours and others'."""
    images = torch.randn(IMAGES, 3, 224, 224)
    found = strongest(net, images, [layer], k=IMAGES)[layer]
    units = [unit for channel in range(CHANNELS) for unit in found.units(channel)]
    of = [int(image) for channel in range(CHANNELS) for image in found.image[channel]]
    usual = NeuronGuidedBackprop(net, net.get_submodule(layer))

    def captum() -> None:
        for unit, number in list(zip(units, of, strict=True))[:IMAGES]:
            usual.attribute(images[number : number + 1], (unit.channel, unit.row, unit.column))

    pairs = len(units)
    ours = seconds(lambda: project(net, images, units, of=of), repeats) / pairs
    theirs = seconds(captum, repeats) / IMAGES
    whole = seconds(lambda: truncated(net, images, units[:IMAGES], of[:IMAGES]), repeats) / IMAGES
    print(
        f"{name:8} {layer:12} ours {ours * 1e3:8.2f} ms a pair, Captum {theirs * 1e3:7.1f} "
        f"({theirs / ours:6.1f}x), truncated backward {whole * 1e3:7.1f} ({whole / ours:6.1f}x)",
        flush=True,
    )


def mining(name: str, net: nn.Module, repeats: int) -> None:
    """The time of mining all convolutions against a bare forward pass over the same images."""
    images = torch.randn(60, 3, 224, 224)
    layers = [path for path, module in net.named_modules() if isinstance(module, nn.Conv2d)]

    def forward() -> None:
        with torch.inference_mode():
            for start in range(0, len(images), 20):
                net(images[start : start + 20])

    bare = seconds(forward, repeats)
    ours = seconds(lambda: strongest(net, images, layers, batch=20), repeats)
    print(f"{name:8} mining {len(layers)} convolutions: {ours / bare:.2f}x a bare forward pass")


def tracing(name: str, net: nn.Module, repeats: int) -> None:
    """The time of working out every layer's shape and receptive field."""
    print(f"{name:8} trace {seconds(lambda: trace(net, (3, 224, 224)), repeats) * 1e3:.1f} ms")


def main() -> None:
    """Run every benchmark, or those of the networks named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(LAYERS))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # Captum announces its hooks at every call
    torch.manual_seed(0)
    torch.set_num_threads(cores())
    for name in arguments.networks or LAYERS:
        net = getattr(torchvision.models, name)(weights=None).eval()
        tracing(name, net, arguments.repeats)
        for layer in LAYERS[name]:
            projecting(name, net, layer, arguments.repeats)
        mining(name, net, arguments.repeats)


if __name__ == "__main__":
    main()
