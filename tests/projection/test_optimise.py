"""Oracle: finite differences, kernels written out, values read back from files."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from internals import Network, Unit, optimise
from internals.data import ImageSet, Normalization
from internals.errors import DataError, LayerError, ProjectionError
from internals.projection import Colours, Spectra

PLAIN, GREY = Normalization((0.0,) * 3, (1.0,) * 3), Normalization((0.0,), (1.0,))


def small_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip


def some_pictures(count: int = 20, channels: int = 3, side: int = 40) -> ImageSet:
    """Smooth pictures whose channels go together."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (count, 1, 5, 5)) * rng.uniform(0.4, 1, (1, channels, 1, 1))
    images = torch.nn.functional.interpolate(torch.tensor(coarse), side, mode="bilinear")
    names = ("a", "b")
    return ImageSet(images.to(torch.uint8), torch.arange(count) % 2, names, "pictures", "0")


# The parameterisation


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 9), width=st.integers(1, 9), channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_every_image_has_a_spectrum_that_gives_it_back(height, width, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(channels) + 0.3 * torch.rand(channels, channels, generator=generator)
    spectra = Spectra(height, width, Colours(torch.full((channels,), 0.4), mixing))
    pixels = 0.02 + 0.96 * torch.rand(2, channels, height, width, generator=generator)
    torch.testing.assert_close(spectra.decode(spectra.encode(pixels)), pixels, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3), (1, 1)])
def test_the_slope_of_the_parameterisation_is_that_of_finite_differences(height, width):
    colours = Colours.of(some_pictures())
    doubled = Colours(colours.mean.double(), colours.mixing.double())
    spectra = Spectra(height, width, doubled)
    parts = torch.randn(1, 3, height, width // 2 + 1, 2, dtype=torch.float64, requires_grad=True)

    def decoded(parts):
        return spectra.decode(torch.view_as_complex(parts))

    assert torch.autograd.gradcheck(decoded, (parts,))


def test_colours_are_the_root_of_the_pictures_covariance():
    pictures = some_pictures()
    colours = Colours.of(pictures)
    flat = pictures.images.double().transpose(0, 1).flatten(1) / 255
    assert torch.allclose(colours.mean.double(), flat.mean(dim=1), atol=1e-6)
    covariance = torch.cov(flat, correction=0)
    found = colours.mixing.double() @ colours.mixing.double().T
    ratio = (found / covariance).flatten()
    assert torch.allclose(ratio, ratio.mean().expand(9), rtol=0.01)
    assert colours.mixing.norm(dim=0).max() == pytest.approx(1, abs=0.01)


def test_low_frequencies_weigh_more_by_one_over_f():
    spectra = Spectra(16, 16, Colours.independent(1))
    heights = {}
    for periods in (1, 2, 4):
        parts = torch.zeros(1, 1, 16, 9, dtype=torch.complex64)
        parts[0, 0, 0, periods] = 1e-3
        heights[periods] = float(torch.logit(spectra.decode(parts).double()).abs().max())
    assert heights[1] / heights[2] == pytest.approx(2, rel=0.01)
    assert heights[2] / heights[4] == pytest.approx(2, rel=0.01)


# What is made


@pytest.mark.parametrize("negative", [False, True])
def test_of_one_linear_layer_it_is_the_kernel(negative):
    """The maximum of w . x over 0..1 is where x is 1 for positive weights and 0 for negative."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 2, 5, bias=False))
    net = Network(model, normalization=PLAIN, input_shape=(3, 9, 9))
    (made,) = optimise(net, Unit("0", 1, 2, 2), negative=negative, steps=600)
    kernel = model[0].weight[1].detach() * (-1 if negative else 1)
    assert made.box == (2, 2, 7, 7) and made.picture.shape == (3, 5, 5)
    picture = made.picture.float() / 255
    assert torch.equal((picture > 0.5)[kernel.abs() > 0.02], (kernel > 0)[kernel.abs() > 0.02])
    best = float(kernel.clamp(min=0).sum()) * (-1 if negative else 1)
    assert made.value == pytest.approx(best, rel=0.05)


def test_shifts_and_turns_leave_everything_in_its_place():
    """A blob off the middle of a kernel of 25 x 25 is found there, not a few pixels beside it."""
    rows, columns = torch.meshgrid(torch.arange(25.0), torch.arange(25.0), indexing="ij")
    blob = torch.exp(-((rows - 7) ** 2 + (columns - 15) ** 2) / 18)
    model = nn.Sequential(nn.Conv2d(3, 1, 25, bias=False))
    with torch.no_grad():
        model[0].weight[:] = blob - blob.mean()
    net = Network(model, normalization=PLAIN, input_shape=(3, 25, 25))
    (made,) = optimise(net, Unit("0", 0), steps=100)
    bright = made.picture.float().mean(dim=0)
    bright = (bright - bright.median()).clamp(min=0)
    middle = [float((bright * axis).sum() / bright.sum()) for axis in (rows, columns)]
    assert middle == pytest.approx([7, 15], abs=1)


@pytest.mark.parametrize("target", ["4:3", Unit("4", 3, 4, 4), "class:2", "class:b"])
def test_the_value_is_reached_again_when_the_picture_is_read_back(tmp_path, target):
    net = Network(
        small_network(), normalization=PLAIN, input_shape=(3, 40, 40), classes=("a", "b", "c", "d")
    )
    pictures = some_pictures()
    (made,) = optimise(net, target, pictures=pictures, steps=40)
    whole = made.full().permute(1, 2, 0).numpy()
    Image.fromarray(whole).save(tmp_path / "made.png")
    with Image.open(tmp_path / "made.png") as picture:
        pixels = torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None]
    model = small_network().eval()
    with torch.no_grad():
        maps = model[:5](PLAIN.apply(pixels))[0, 3]
        scores = model(PLAIN.apply(pixels))[0]
    wanted = {
        "4:3": maps.mean(), "class:2": scores[2], "class:b": scores[1],
    }.get(target, maps[4, 4])  # fmt: skip
    assert made.value == pytest.approx(float(wanted), rel=1e-4, abs=1e-5)
    # No picture of the set comes near it.
    with torch.no_grad():
        maps = model[:5](PLAIN.apply(pictures.images))[:, 3]
        scores = model(PLAIN.apply(pictures.images))
    others = {
        "4:3": maps.mean(dim=(1, 2)), "class:2": scores[:, 2], "class:b": scores[:, 1],
    }.get(target, maps[:, 4, 4])  # fmt: skip
    assert made.value > others.max() + (0 if "class" in str(target) else 2) * others.std()


def test_driven_down_it_reaches_less_than_every_picture():
    net = Network(small_network(), normalization=PLAIN, input_shape=(3, 40, 40))
    pictures = some_pictures()
    up, down = (
        optimise(net, "4:3", pictures=pictures, steps=40, negative=negative)[0]
        for negative in (False, True)
    )
    with torch.no_grad():
        maps = small_network().eval()[:5](PLAIN.apply(pictures.images))[:, 3].mean(dim=(1, 2))
    assert down.value < maps.min() and maps.max() < up.value
    assert (down.negative, up.negative) == (True, False)


def test_a_unit_is_drawn_on_its_own_field_as_far_as_that_lies_on_the_image():
    """Two layers, 3 x 3 each, a pooling between: field 10, stride 4, start -1, by hand."""
    net = Network(small_network(), normalization=PLAIN, input_shape=(3, 40, 40))
    inner, corner = optimise(net, [Unit("4", 0, 3, 3), Unit("4", 0, 0, 0)], steps=3)
    assert inner.box == (11, 11, 19, 19)
    assert corner.box == (0, 0, 7, 7) and corner.picture.shape == (3, 7, 7)
    whole = inner.full()
    assert whole.shape == (3, 40, 40) and torch.equal(whole[:, 11:19, 11:19], inner.picture)
    assert (whole[:, 0, 0] == inner.ground).all()


def test_what_a_target_becomes_does_not_depend_on_the_others():
    net = Network(small_network(), normalization=PLAIN, input_shape=(3, 40, 40))
    targets = ["4:1", Unit("4", 2, 4, 4), "4:2", "class:0"]
    together = optimise(net, targets, steps=12, seed=5)
    assert [made.target for made in together] == ["4:1", "4[2, 4, 4]", "4:2", "class:0"]
    for target, made in zip(targets, together, strict=True):
        (alone,) = optimise(net, target, steps=12, seed=5)
        assert (alone.picture.int() - made.picture.int()).abs().max() <= 1
        assert alone.value == pytest.approx(made.value, rel=1e-3)
    (other,) = optimise(net, "4:1", steps=12, seed=6)
    assert not torch.equal(other.picture, together[0].picture)
    assert (other.seed, other.steps) == (6, 12)


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**20])
@pytest.mark.parametrize("target", [Unit("4", 2, 4, 4), "class:0"])
def test_the_scale_of_a_network_does_not_matter(target, scale):
    """What is a thousand times as large is driven by the same picture."""
    model, scaled = small_network(), small_network()
    with torch.no_grad():
        layer = scaled[9 if target == "class:0" else 4]
        layer.weight *= scale
        layer.bias *= scale
    pictures = [
        optimise(Network(net, normalization=PLAIN, input_shape=(3, 40, 40)), target, steps=25)[0]
        for net in (model, scaled)
    ]
    difference = pictures[0].picture.int() - pictures[1].picture.int()
    assert difference.abs().float().mean() < 1
    assert pictures[0].picture.float().std() > 20


@pytest.mark.parametrize("negative", [False, True])
def test_where_every_contrast_costs_the_picture_stays_plain(negative):
    """The maximum of a mean of minus squares is an image of one colour."""

    class Contrast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, bias=False)
            self.squared = nn.Identity()

        def forward(self, x):
            return self.squared((1 if negative else -1) * self.conv(x - 0.5) ** 2)

    torch.manual_seed(0)
    net = Network(Contrast(), normalization=PLAIN, input_shape=(3, 20, 20))
    (made,) = optimise(net, "squared:1", steps=100, negative=negative)
    (first,) = optimise(net, "squared:1", steps=1, negative=negative)
    assert abs(made.value) <= abs(first.value) < 0.01
    assert made.picture.float().std() < 20


def test_of_a_network_that_computes_with_the_size_of_its_input_the_whole_is_seen():
    class Sized(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, bias=False)

        def forward(self, x):
            return self.conv(x) * x.new_ones(x.shape[-2:]).sum()

    torch.manual_seed(0)
    model = Sized()
    net = Network(model, normalization=PLAIN, input_shape=(3, 20, 20))
    (made,) = optimise(net, Unit("conv", 1, 9, 9), steps=5)
    assert made.box == (9, 9, 12, 12)
    with torch.no_grad():
        assert made.value == pytest.approx(float(model.conv(made.full()[None] / 255)[0, 1, 9, 9]))

    class Scaled(Sized):
        def forward(self, x):
            return self.conv(x * x.shape[-1] - 10)

    model = Scaled()
    (made,) = optimise(
        Network(model, normalization=PLAIN, input_shape=(3, 20, 20)),
        Unit("conv", 1, 9, 9),
        steps=5,
    )
    with torch.no_grad():
        whole = model(made.full()[None] / 255)[0, 1, 9, 9]
    assert made.value == pytest.approx(float(whole), rel=1e-4)


@pytest.mark.parametrize(("rectified", "given"), [("2", "1"), ("5", "4")])
def test_of_a_rectifier_what_it_is_given_is_driven(rectified, given):
    """Also where it works in place, and where it is silent on all noise."""
    model = small_network()
    with torch.no_grad():
        model[1].bias.fill_(-50.0)
        model[4].bias.fill_(-50.0)
    net = Network(model, normalization=PLAIN, input_shape=(3, 40, 40))
    (before,) = optimise(net, Unit(given, 1, 4, 4), steps=10)
    (after,) = optimise(net, Unit(rectified, 1, 4, 4), steps=10)
    assert torch.equal(after.picture, before.picture) and after.value == before.value < -10


def test_grey_inputs_and_layers_without_maps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 100, 7))
    net = Network(model, normalization=GREY, input_shape=(1, 12, 12))
    unit, tanh = optimise(net, [Unit("3", 4), "1:2"], pictures=some_pictures(channels=1), steps=30)
    assert unit.picture.shape == (1, 12, 12) and unit.box == (0, 0, 12, 12)
    with torch.no_grad():
        inputs = unit.full()[None].float() / 255
        assert unit.value == pytest.approx(float(model(inputs)[0, 4]), rel=1e-4)
        inputs = tanh.full()[None].float() / 255
        assert tanh.value == pytest.approx(float(model[0](inputs)[0, 2].mean()), rel=1e-4)


def test_the_network_and_the_random_numbers_are_left_as_they_were():
    model = small_network().train()
    model[1].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    optimise(Network(model, normalization=PLAIN, input_shape=(3, 40, 40)), "4:0", steps=3)
    assert model.training and not model[1].weight.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    with torch.inference_mode():
        (made,) = optimise(
            Network(model, normalization=PLAIN, input_shape=(3, 40, 40)), "4:0", steps=3
        )
    assert math.isfinite(made.value)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("4", LayerError, "'4' names no channel"),
        ("4:8", LayerError, "has no channel 8; its channels are 0 to 7"),
        ("conv:1", LayerError, "has no layer 'conv'"),
        (Unit("4", 0, 30, 0), LayerError, "has no row 30"),
        ("class:4", ProjectionError, "has no class 4; its classes are 0 to 3"),
        ("class:dog", ProjectionError, "no class is called 'dog'"),
    ],
)
def test_what_is_not_there_is_one_line(target, error, message):
    net = Network(small_network(), normalization=PLAIN, input_shape=(3, 40, 40))
    with pytest.raises(error, match=message) as raised:
        optimise(net, target, steps=2)
    assert "\n" not in str(raised.value)


def test_what_is_missing_is_said():
    with pytest.raises(DataError, match="normalization='imagenet' is none; give Normalization"):
        Network(small_network(), normalization="imagenet", input_shape=(3, 40, 40))
    bare = Network(small_network(), input_shape=(3, 40, 40))
    with pytest.raises(DataError, match="how pictures are normalised for this network"):
        optimise(bare, "4:0")
    net = Network(small_network(), normalization=PLAIN, input_shape=(3, 40, 40))
    with pytest.raises(DataError, match="pictures has 1 channels, and the network takes 3"):
        optimise(net, "4:0", pictures=some_pictures(channels=1))

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return self.conv(x.detach())

    cut = Network(Cut(), normalization=PLAIN, input_shape=(3, 20, 20))
    with pytest.raises(ProjectionError, match="no gradient leads from conv:0 back to the image"):
        optimise(cut, "conv:0")
    model = small_network()
    with torch.no_grad():
        model[4].weight[0, 0, 0, 0] = math.nan
    broken = Network(model, normalization=PLAIN, input_shape=(3, 40, 40))
    with pytest.raises(ProjectionError, match="4:0 is nan on the image"):
        optimise(broken, "4:0")
