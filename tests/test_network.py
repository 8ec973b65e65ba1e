"""Oracle: the same questions asked of the bare module, and files of weights made here."""

import math
import sys

import pytest
import torch
import torchvision
from torch import nn

from internals import (
    Network,
    Normalization,
    Normalized,
    Unit,
    grad_cam,
    receptive_field,
    saliency,
    strongest,
    summarize,
)
from internals import project as project_units
from internals.data import IMAGENET, ImageSet, PictureFolder
from internals.errors import (
    AnatomyError,
    CheckpointError,
    DataError,
    InternalsError,
    ModelError,
    ProjectionError,
)
from internals.models import build, pack_tensors
from internals.network import as_model_error
from internals.training import save_weights

HALVES = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def photos(count: int = 4, side: int = 20) -> ImageSet:
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(count) % 2, ("cat", "dog"), "photos", "photos 1")


def small() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


@pytest.mark.parametrize("kind", ["set", "folder", "bytes", "normalized", "tensor"])
def test_pictures_of_every_kind_are_what_the_network_is_fed(kind):
    images, model = photos(), small()
    inputs = HALVES.apply(images.images)
    pictures = {
        "set": images,
        "folder": PictureFolder(images, ("a", "b", "c", "d")),
        "bytes": images.images,
        "normalized": Normalized(images, HALVES),
        "tensor": inputs,
    }[kind]
    net = Network(model, normalization=HALVES)
    top, expected = (
        strongest(of, x, ["0"], 2)["0"] for of, x in ((net, pictures), (model, inputs))
    )
    for name in ("image", "row", "column", "value"):
        torch.testing.assert_close(getattr(top, name), getattr(expected, name), rtol=0, atol=0)
    assert top.pictures is pictures
    torch.testing.assert_close(net.saliency(pictures, 1), saliency(model, inputs, 1))
    torch.testing.assert_close(net.capture(pictures, ["2"])["2"], model[:3](inputs).detach())
    [projection] = net.project(pictures, ["2:1"], image_index=[3])
    [same] = project_units(model, inputs[3:], [projection.unit])
    torch.testing.assert_close(projection.pixels, same.pixels, rtol=1e-5, atol=1e-7)


def test_bytes_are_refused_where_nobody_knows_how_they_are_fed():
    for pictures in (photos(), photos().images):
        with pytest.raises(
            DataError, match=r"how Sequential is fed is not known; .*normalization="
        ):
            strongest(small(), pictures, ["0"])


def test_the_score_and_the_names_of_the_classes_are_the_networks():
    """A network that answers with penalties: the least is the likeliest."""
    images, model = photos(), small()
    inputs = HALVES.apply(images.images)
    net = Network(model, normalization=HALVES, classes=("cat", "dog"), score=lambda y: -y)
    expected = saliency(model, inputs, score=lambda y: -y)
    torch.testing.assert_close(net.saliency(images), expected)
    torch.testing.assert_close(net.saliency(images, "dog"), saliency(model, inputs, 1))
    torch.testing.assert_close(
        net.grad_cam(images, "2", ["dog", "cat", "cat", "dog"]),
        grad_cam(model, inputs, "2", [1, 0, 0, 1], score=lambda y: -y),
    )
    torch.testing.assert_close(net.saliency(images, score=lambda y: y), saliency(model, inputs))
    with pytest.raises(ProjectionError, match="no class is called 'cow'; the names are cat, dog"):
        net.saliency(images, "cow")
    with pytest.raises(ProjectionError, match="no class is called 'cat'; the names are not known"):
        saliency(model, inputs, "cat")


PASSES: list[tuple[str, tuple[int, ...]]] = []  # not the network's own, which is left as it was


class Counting(nn.Module):
    """Notes the passes in which nothing is computed, or that nothing but a trace needs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        PASSES.append((x.device.type, tuple(x.shape[1:])))
        return self.conv(x)


def test_one_trace_for_each_shape():
    PASSES.clear()
    net, images = Network(Counting(), normalization=HALVES, input_shape=(3, 20, 20)), photos()
    for _ in range(2):
        top = net.strongest(images, ["conv"], 2)["conv"]
        net.patches(top, [0, 1])
        net.project(images, "conv:1")
        net.summary(), net.receptive_field("conv")
    traced = [shape for device, shape in PASSES if device == "meta"]
    # One that asks for its size, as this does, is traced with one image too, on a window, and at
    # two other sizes.
    assert traced.count((3, 20, 20)) <= 2
    assert len(traced) - 1 == len(set(traced)) <= 4
    before = len(PASSES)
    net.summary(), net.receptive_field("conv"), net.project(images, "conv:1")
    assert all(device != "meta" for device, _ in PASSES[before:])


def test_sizes_and_fields_are_those_of_its_input_shape():
    model = small()
    net = Network(model, input_shape=(3, 20, 20))
    assert net.summary() == summarize(model, (3, 20, 20))
    assert net.receptive_field("2") == receptive_field(model, "2", (3, 20, 20))
    with pytest.raises(AnatomyError, match=r"Sequential does not say what shape .*; give input_sh"):
        Network(model).summary()


def test_a_run_is_fed_and_read_as_it_was_trained(digits):
    from types import SimpleNamespace

    from internals.training import Map, find_recipe

    torch.manual_seed(0)
    recipe = find_recipe("lenet5", "smoke")
    normalization = Normalization.from_range(-0.1, 1.175)
    run = SimpleNamespace(
        model=build("lenet5"), recipe=recipe, loss=Map(5.0), normalization=normalization
    )
    net = Network.of(run, classes=digits.test.class_names)
    assert net.shape() == (1, 32, 32) and net.classes == digits.test.class_names
    images = digits.test.subset(torch.arange(5))
    expected = saliency(run.model, normalization.apply(images.images), 3, score=Map(5.0).scores)
    torch.testing.assert_close(net.saliency(images, 3), expected)


def test_a_network_of_torchvision_by_name(tmp_path):
    torch.manual_seed(5)
    model = torchvision.models.get_model("resnet18", weights=None)
    torch.save(model.state_dict(), tmp_path / "r18.pth")
    net = Network.open("resnet18", weights=tmp_path / "r18.pth")
    assert net.shape() == (3, 224, 224) and net.normalization == IMAGENET
    assert net.name == "resnet18" and not net.random_weights and not net.model.training
    torch.testing.assert_close(net.model.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_random_weights_are_the_same_every_time_and_draw_nothing_from_torch():
    before = torch.get_rng_state()
    first, again, other = (Network.open("lenet5", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [net.model.conv1.weight for net in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert first.random_weights and first.shape() == (1, 32, 32)
    assert first.normalization == Normalization.from_range(-0.1, 1.175)


def test_a_callable_that_gives_a_network():
    net = Network.open(small, size=24)
    assert (net.name, net.shape(), net.normalization) == ("small", (3, 24, 24), IMAGENET)
    assert not net.random_weights, "nobody knows"
    assert Network.open(small, input_shape=(3, 9, 30)).shape() == (3, 9, 30)
    with pytest.raises(ModelError, match=r"<lambda> gives int, not a torch.nn.Module"):
        Network.open(lambda: 3)
    with pytest.raises(DataError, match="the normalisation has 1 channels, and small takes 3"):
        Network.open(small, normalization=Normalization((0.0,), (1.0,)))


def test_what_our_training_leaves_says_how_its_network_is_fed(tmp_path):
    """Statistics are looked for when they are needed, not before."""
    torch.manual_seed(1)
    recipe = {"network": "resnet18", "size": 24, "pipeline": "mean-std"}
    provenance = {"network": "resnet18", "recipe": recipe}
    weights = tmp_path / "weights.safetensors"
    save_weights(weights, build("resnet18"), provenance=provenance)
    net = Network.open("resnet18", weights)
    assert net.shape() == (3, 24, 24) and net.resolved.origin == "ours"
    with pytest.raises(DataError, match=r"does not hold the statistics that it was trained with"):
        net.strongest(photos(), ["conv1"])
    statistics = {
        "mean": torch.tensor([0.5] * 3).double(),
        "std": torch.tensor([0.25] * 3).double(),
    }
    packed = pack_tensors(statistics)
    save_weights(weights, build("resnet18"), provenance=provenance, statistics=packed)
    assert Network.open("resnet18", weights).normalization == HALVES
    with pytest.raises(CheckpointError, match="holds weights of another network"):
        Network.open("alexnet", weights)


def test_it_leaves_the_network_as_it_was_and_works_where_it_is():
    net = Network(small().train(), normalization=HALVES)
    assert net.device == torch.device("cpu")
    net.project(photos(), [Unit("2", 0, 1, 1)], image_index=[0])
    assert net.model.training
    assert repr(net) == "Network(Sequential)"


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((math.nan, 0.5, 0.5), (0.2,) * 3),
        ((math.inf, 0.5, 0.5), (0.2,) * 3),
        ((0.5,) * 3, (0.2, math.inf, 0.2)),
        ((0.5,) * 3, (0.2, 0.0, 0.2)),
        ((0.5,) * 3, (0.2, 1e-45, 0.2)),
        ((1e12, 0.5, 0.5), (0.2,) * 3),
    ],
)
def test_a_normalisation_that_makes_no_input_is_refused_at_once(mean, std):
    for make in (
        lambda n: Network(small(), normalization=n),
        lambda n: Network.open(small, normalization=n),
    ):
        with pytest.raises(DataError, match=r"mean \(.* and std \(.* do not tell black from white"):
            make(Normalization(mean, std))
    with pytest.raises(DataError, match="are not as many numbers; give one a channel"):
        Network(small(), normalization=Normalization((0.5,) * 3, (0.5,)))
    inverted = Normalization((0.5,) * 3, (-0.5,) * 3)  # white on black is a choice
    assert Network(small(), normalization=inverted).normalization == inverted


@pytest.mark.parametrize(
    "device", ["hpu", "privateuseone", "xla", "mtia", "nowhere", "", "cpu:x", "opengl", None]
)
def test_a_device_that_torch_does_not_have_is_one_line(device):
    with pytest.raises(
        ModelError, match=r"device '\w*:?\w*' cannot be used here: .*leave it"
    ) as raised:
        Network.open(small, size=24, device=device)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 180


def test_a_network_without_numbers_that_is_to_work_is_one_line():
    def unmade():
        with torch.device("meta"):
            return small()

    with pytest.raises(ModelError, match="unmade cannot be moved to cpu: NotImplementedError"):
        Network.open(unmade, size=24)


class Leaving(nn.Module):
    """Ends the program where an input is not 40 wide."""

    def forward(self, x):
        if x.shape[-1] != 40:
            sys.exit(0)
        return nn.functional.max_pool2d(x, 2)


def test_a_forward_that_ends_the_program_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(
        ModelError, match=r"takes no square input of .* 3 x 32 x 32: SystemExit: 0\)"
    ):
        Network.open(Leaving)
    assert Network.open(Leaving, size=40).shape() == (3, 40, 40)
    net = Network(Leaving(), input_shape=(3, 9, 9))
    message = "Leaving fails on an input of 3 x 9 x 9: SystemExit: 0"
    with pytest.raises(ModelError, match=message), as_model_error(net.name, net.shape()):
        net.trace(net.shape())


@pytest.mark.parametrize(
    ("recipe", "statistics", "message"),
    [
        ({"size": "big"}, None, "w.safetensors states an odd size, 'big'; train again"),
        ({"size": -1}, None, "states an odd size, -1"),
        ({"size": True}, None, "states an odd size, True"),
        (
            {"size": 24},
            ((0.5,) * 3, (0.25,) * 3),
            "does not say how its network is fed: KeyError: 'p",
        ),
        (
            {"size": 24, "pipeline": "mean-std"},
            (0.5, 0.25),
            "does not say how its network is fed: T",
        ),
        (
            {"size": 24, "pipeline": "mean-std"},
            ((0.5,) * 3, (0.0,) * 3),
            "do not tell black from white in finite numbers",
        ),
    ],
)
def test_what_weights_state_oddly_of_their_training_is_one_line(
    tmp_path, recipe, statistics, message
):
    packed = {}
    if statistics:
        tensors = zip(("mean", "std"), map(torch.tensor, statistics), strict=True)
        packed = {"statistics": pack_tensors(dict(tensors))}
    path = tmp_path / "w.safetensors"
    save_weights(
        path, build("resnet18"), provenance={"network": "resnet18", "recipe": recipe}, **packed
    )
    with pytest.raises(InternalsError) as raised:
        _ = Network.open("resnet18", path).normalization
    assert message in str(raised.value) and "\n" not in str(raised.value)
