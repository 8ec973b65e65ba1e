"""`make bench`: projecting, mining and feeding beside the usual ways, measured in one run."""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
import torchvision
from captum.attr import NeuronGuidedBackprop
from torch import nn

from internals import Unit, build, project, strongest
from internals.anatomy import trace
from internals.data import ImageSet
from internals.environment import cores, keep_freed_memory
from internals.training import Batches, find_recipe, make_fabric

IMAGES = 9
FED = ("alexnet", "vgg16", "inceptionnet", "resnet18", "mobilenet")
_TURN_SECONDS = 1 / 3
# An early, a middle and the last convolution, and how many of its channels are projected: what one
# call costs besides its pairs (tracing, above all) shows beside the quick ones of an early layer.
LAYERS = {
    "alexnet": {"features.3": 24, "features.6": 6, "features.10": 6},
    "vgg16": {"features.7": 24, "features.21": 6, "features.28": 6},
}


def seconds(repeats: int, *works: Callable[[], object]) -> list[list[float]]:
    """The times of each of `works` in every round, after one round that does not count.

    They take turns, so that what else the machine does slows all of them alike. A turn lasts a
    third of a second at least, and its first call counts only if it is the only one: a short
    work would else be measured by how long it takes to win the caches back from a long one.
    """
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats + 1):
        for work, taken in zip(works, times, strict=True):
            calls: list[float] = []
            while sum(calls) < _TURN_SECONDS:
                began = time.perf_counter()
                work()
                calls.append(time.perf_counter() - began)
            taken.append(statistics.mean(calls[1:] or calls))
    return [taken[1:] for taken in times]


def ratio(slow: list[float], fast: list[float]) -> float:
    """How many times faster: the median over the rounds."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))


def truncated(
    net: nn.Sequential, images: torch.Tensor, units: list[Unit], image_index: list[int]
) -> None:
    """Guided backpropagation on whole images that stops at the layer, one unit at a time."""
    depth = int(units[0].layer.partition(".")[2])
    for unit, number in zip(units, image_index, strict=True):
        image = images[number : number + 1].clone().requires_grad_()
        output = net.features[: depth + 1](image)
        torch.autograd.grad(output[0, unit.channel, unit.row, unit.column], image)


def projecting(name: str, net: nn.Module, layer: str, channels: int, repeats: int) -> None:
    """Seconds a (image, unit) pair at the channels' strongest units, ours and others'."""
    images = torch.randn(IMAGES, 3, 224, 224)
    top = strongest(net, images, [layer], k=IMAGES)[layer][:channels]
    units, image_index = top.units(), top.image.flatten().tolist()
    usual = NeuronGuidedBackprop(net, net.get_submodule(layer))

    def captum() -> None:
        for unit, number in list(zip(units, image_index, strict=True))[:IMAGES]:
            usual.attribute(images[number : number + 1], (unit.channel, unit.row, unit.column))

    ours, theirs, whole = seconds(
        repeats,
        lambda: project(net, images, top),
        captum,
        lambda: truncated(net, images, units[:IMAGES], image_index[:IMAGES]),
    )
    ours = [taken / len(units) for taken in ours]
    theirs, whole = ([taken / IMAGES for taken in times] for times in (theirs, whole))
    own, captums, cut = (statistics.median(times) * 1e3 for times in (ours, theirs, whole))
    print(
        f"{name:8} {layer:12} {len(units):3} pairs, ours {own:8.2f} ms a pair, "
        f"Captum {captums:7.1f} ({ratio(theirs, ours):6.1f}x), "
        f"truncated {cut:7.1f} ({ratio(whole, ours):6.1f}x)",
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

    ours, bare = seconds(repeats, lambda: strongest(net, images, layers, batch=20), forward)
    times = ratio(ours, bare)
    print(f"{name:8} mining {len(layers)} convolutions: {times:.2f}x a bare forward pass")


def tracing(name: str, net: nn.Module, repeats: int) -> None:
    """The time of working out every layer's shape and receptive field."""
    [times] = seconds(repeats, lambda: trace(net, (3, 224, 224)))
    print(f"{name:8} trace {statistics.median(times) * 1e3:.1f} ms")


def feeding(name: str, repeats: int) -> None:
    """The time of training steps whose images are augmented against steps on ready tensors."""
    recipe = replace(find_recipe(name, "full"), batch_size=32, micro_batch=None, most_images=None)
    size = recipe.size_in(1, recipe.epochs)
    generator = torch.Generator().manual_seed(0)
    shape = (64, 3, recipe.stored, recipe.stored)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    kinds = tuple(str(kind) for kind in range(10))
    images = ImageSet(pixels, torch.arange(64) % 10, kinds, "noise", "noise")
    network = build(recipe.network, **dict(recipe.arguments)).to(memory_format=torch.channels_last)
    fabric = make_fabric()
    model, optimizer = fabric.setup(network, recipe.optimizer.build(network))
    pipeline = recipe.fit_pipeline(images).at(size)
    batches = Batches(images, recipe.batch_size, 0, fabric.device, 0, 1)
    numbers = torch.arange(recipe.batch_size)
    ready, labels, _ = batches.inputs(numbers, pipeline, 1, 0)
    entropy = nn.CrossEntropyLoss()

    def step(inputs: torch.Tensor) -> None:
        optimizer.zero_grad()
        outputs = model(inputs.contiguous(memory_format=torch.channels_last))
        fabric.backward(entropy(outputs, labels))
        optimizer.step()

    def augmented() -> None:
        step(batches.inputs(numbers, pipeline, 1, 0)[0])

    model.train()
    keep_freed_memory()
    ours, bare = seconds(repeats, augmented, lambda: step(ready))
    print(f"{name:12} {size} px: a step takes {ratio(ours, bare):.2f}x one on ready tensors")


def main() -> None:
    """Run every benchmark, or those of the networks named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "networks", nargs="*", metavar="NETWORK", help=", ".join([*LAYERS, "feeding"])
    )
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # Captum announces its hooks at every call
    torch.manual_seed(0)
    torch.set_num_threads(cores())
    for name in arguments.networks or [*LAYERS, "feeding"]:
        if name == "feeding":
            for network in FED:
                feeding(network, 3 * arguments.repeats)  # one step alone is noisy
            continue
        net = getattr(torchvision.models, name)(weights=None).eval()
        tracing(name, net, arguments.repeats)
        for layer, channels in LAYERS[name].items():
            projecting(name, net, layer, channels, arguments.repeats)
        mining(name, net, arguments.repeats)


if __name__ == "__main__":
    main()
