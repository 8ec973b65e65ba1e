"""Oracle: a brute-force scan over every unit of every image in NumPy, ties by image id.

The garbage collector says which batches are alive, and Python's counter what a row holds.
"""

import gc
import weakref
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from internals.activations import Unit, class_counts, class_purity, strongest
from internals.data import Normalization, Normalized
from internals.errors import DataError, LayerError
from internals.models import LeNet5


class Steps(nn.Module):
    """Few different values, so that units and images tie exactly again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.steps = nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.Identity()
        self.after = nn.Conv2d(3, 5, 2)

    def forward(self, x):
        return self.after(self.steps(self.conv(x).round()))


def brute_force(maps: np.ndarray, k: int) -> list[list[tuple[int, int, int, float]]]:
    """For every channel (image, row, column, value): larger first, then the lower image id."""
    rows = []
    for channel in range(maps.shape[1]):
        best = []
        for image in range(len(maps)):
            top = None
            for row in range(maps.shape[2]):
                for column in range(maps.shape[3]):
                    value = float(maps[image, channel, row, column])
                    if top is None or value > top[3]:
                        top = (image, row, column, value)
            best.append(top)
        rows.append(sorted(best, key=lambda found: (-found[3], found[0]))[:k])
    return rows


def _rows(found) -> list[list[tuple[int, int, int, float]]]:
    parts = (found.image, found.row, found.column, found.value)
    return [
        [tuple(entry) for entry in zip(*(part[channel].tolist() for part in parts), strict=True)]
        for channel in found.channels
    ]


@pytest.mark.parametrize("batch", [1, 7, 256])
@pytest.mark.parametrize("k", [1, 9, 41, 100])
def test_is_the_brute_force_scan_with_many_ties(batch, k):
    model, images = Steps().double(), torch.rand(41, 1, 6, 7).double() * 3
    with torch.no_grad():
        model.conv.weight.uniform_(-1, 1)
        maps = model.conv(images).round()
        expected = {"steps": maps.numpy(), "after": model.after(maps).numpy()}
    found = strongest(model, images, ["steps", "after"], k, batch=batch)
    assert list(found) == ["steps", "after"]
    rows = brute_force(expected["steps"], k)
    everything = brute_force(expected["steps"], 41)
    tied = sum(a[3] == b[3] for row in everything for a, b in pairwise(row))
    assert tied > 60  # the ties are there
    assert _rows(found["steps"]) == rows
    for ours, theirs in zip(_rows(found["after"]), brute_force(expected["after"], k), strict=True):
        assert [entry[:3] for entry in ours] == [entry[:3] for entry in theirs]
        np.testing.assert_allclose(
            [entry[3] for entry in ours], [entry[3] for entry in theirs], rtol=1e-12
        )
    assert found["steps"].image.shape == (3, min(k, 41))


def test_border_units_and_one_image_a_row():
    """Padding makes the corners the brightest place of an image of ink: none may be dropped."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(-1.0)
    images = torch.ones(4, 1, 5, 6) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1, 1)
    found = strongest(model, images, ["0"], 3)["0"]
    assert found.image.tolist() == [[0, 1, 2]]
    assert found.row.tolist() == found.column.tolist() == [[0, 0, 0]]  # the first of four corners
    assert found.value.tolist() == [[-4.0, -8.0, -12.0]]
    assert found.units(0) == [Unit("0", 0, 0, 0)] * 3


def test_tanh_layers_are_ranked_by_what_goes_in():
    """All outputs tie at the ceiling; the inputs do not."""
    model = LeNet5()
    with torch.no_grad():
        model.conv1.weight.fill_(1.0)
    images = torch.ones(12, 1, 32, 32) * torch.arange(12.0).add(2).view(-1, 1, 1, 1)
    with torch.no_grad():
        assert model.tanh1(model.conv1(images)).unique().numel() == 1
    found = strongest(model, images, ["tanh1"], 5)["tanh1"]
    assert found.image[0].tolist() == [11, 10, 9, 8, 7]
    expected = strongest(model, images, ["conv1"], 5)["conv1"]
    torch.testing.assert_close(found.value, expected.value, rtol=0, atol=0)


@pytest.mark.parametrize(
    "module",
    [nn.Tanh(), nn.Sigmoid(), nn.Softsign(), nn.Hardtanh(), nn.Hardtanh(inplace=True),
     nn.ReLU6(inplace=True)],
    ids=str,
)  # fmt: skip
def test_other_squashing_layers_likewise(module):
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), module)
    with torch.no_grad():
        model[0].weight.fill_(100.0)
    images = torch.arange(1.0, 7).view(6, 1, 1, 1)
    found = strongest(model, images, ["1"], 2)["1"]
    assert found.image.tolist() == [[5, 4]]
    assert found.value.tolist() == [[600.0, 500.0]]


class Named(nn.Module):
    """Calls its squashing layer by keyword, which torch shows only afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squash = nn.Conv2d(1, 1, 1, bias=False), nn.Tanh()

    def forward(self, x):
        return self.squash(input=self.conv(x))


def test_squashing_layers_called_by_keyword_likewise():
    model = Named()
    with torch.no_grad():
        model.conv.weight.fill_(100.0)
    images = torch.arange(1.0, 7).view(6, 1, 1, 1)
    found = strongest(model, images, ["squash"], 2, batch=4)["squash"]
    assert found.image.tolist() == [[5, 4]]
    assert found.value.tolist() == [[600.0, 500.0]]


def test_rectifiers_are_ranked_by_what_comes_out():
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(-1.0)
    found = strongest(model, torch.arange(1.0, 4).view(3, 1, 1, 1), ["1"], 3)["1"]
    assert found.value.tolist() == [[0.0, 0.0, 0.0]]
    assert found.image.tolist() == [[0, 1, 2]]


def test_values_before_an_in_place_rectifier():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True))
    images = torch.rand(5, 1, 6, 6)
    with torch.no_grad():
        model[0].bias.fill_(-9.0)
        expected = model[0](images).amax((2, 3)).T.sort(dim=1, descending=True).values
    torch.testing.assert_close(strongest(model, images, ["0"], 5)["0"].value, expected)


def test_anything_that_is_sliced_will_do(digits):
    normalization = Normalization.from_range(-0.1, 1.175)
    model = LeNet5()
    images = normalization.apply(digits.test.images)
    lazily = strongest(model, Normalized(digits.test, normalization), ["conv2"], 4, batch=100)
    at_once = strongest(model, images, ["conv2"], 4, batch=100)
    assert _rows(lazily["conv2"]) == _rows(at_once["conv2"])


def test_fully_connected_layers_have_one_position(digits):
    model = LeNet5()
    images = Normalization.from_range(-0.1, 1.175).apply(digits.test.images[:30])
    found = strongest(model, images, ["rbf"], 2)["rbf"]
    with torch.no_grad():
        expected = model(images).T.sort(dim=1, descending=True).values[:, :2]
    torch.testing.assert_close(found.value, expected, rtol=1e-5, atol=1e-4)
    assert not found.row.any() and not found.column.any()


def test_images_of_another_precision_are_taken_as_the_model_needs_them():
    model, images = Steps(), torch.rand(6, 1, 6, 7).double()
    found = strongest(model, images, ["after"], 2)["after"]
    same = strongest(model, images.float(), ["after"], 2)["after"]
    assert _rows(found) == _rows(same)


def test_nan_is_refused_with_layer_and_image():
    images = torch.rand(9, 1, 6, 7)
    images[5, 0, 3, 3] = float("nan")
    with pytest.raises(LayerError, match="layer 'steps' answers image 5 with NaN"):
        strongest(Steps(), images, ["steps"], 2, batch=4)


def test_empty_sets_and_nothing_wanted_are_refused():
    for images, k in ((torch.zeros(0, 1, 6, 7), 3), (torch.zeros(3, 1, 6, 7), 0)):
        with pytest.raises(DataError, match=f"cannot choose the strongest {k} of {len(images)} im"):
            strongest(Steps(), images, ["conv"], k)


def test_unknown_layers_and_channels():
    with pytest.raises(LayerError, match="Steps has no layer 'cnov'; nearest: conv"):
        strongest(Steps(), torch.zeros(3, 1, 6, 7), ["cnov"])
    found = strongest(Steps(), torch.zeros(3, 1, 6, 7), ["conv"])["conv"]
    for channel in (-1, 3):
        with pytest.raises(LayerError, match=f"no channel {channel}; its channels are 0 to 2"):
            found.units(channel)


def test_a_layer_named_twice_is_told_once():
    images = torch.rand(3, 1, 6, 7)
    assert list(strongest(Steps(), images, ["conv", "conv"])) == ["conv"]


# One batch at a time, as weak references tell


class Endless:
    """Images made when they are asked for, which note how many batches before are still alive."""

    def __init__(self, count: int) -> None:
        self.count, self.given, self.alive, self.seen = count, [], [], []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: slice) -> torch.Tensor:
        gc.collect()
        self.alive.append(sum(given() is not None for given in self.given))
        start, stop, _ = index.indices(self.count)
        self.seen += range(start, stop)
        batch = torch.rand(stop - start, 1, 16, 16)
        self.given.append(weakref.ref(batch))
        return batch


@pytest.fixture
def new_objects_only():
    """Collections look at what the test has made, and not at all of torch."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def test_one_batch_at_a_time_and_each_image_once(new_objects_only):
    torch.manual_seed(0)
    maps = []

    class Keeping(nn.Conv2d):
        def forward(self, x):
            output = super().forward(x)
            gc.collect()
            maps.append((sum(given() is not None for given in kept), len(x)))
            kept.append(weakref.ref(output))
            return output

    kept: list = []
    images = Endless(70)
    found = strongest(nn.Sequential(Keeping(1, 4, 3), nn.ReLU()), images, ["0", "1"], k=3, batch=10)
    assert found["1"].image.shape == (4, 3)
    _, *passes = images.alive  # the first look is for the images' size
    assert max(passes) <= 1
    assert images.seen[1:] == list(range(70))
    assert max(alive for alive, _ in maps) <= 1
    assert max(size for _, size in maps) == 10


# What classes the strongest images are of


def test_the_commonest_class_of_each_row_counts():
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    pure, half, mixed = [0, 1, 2, 0], [0, 1, 3, 4], [0, 3, 5, 5]
    assert class_purity(torch.tensor([pure]), labels) == 1
    assert class_purity(torch.tensor([half]), labels) == 0.5
    assert class_purity(torch.tensor([pure, half, mixed]), labels) == pytest.approx(2 / 3)


def test_many_rows_as_a_counter_counts_them():
    labels = torch.randint(10, (200,))
    rows = torch.randint(200, (300, 9))
    assert class_counts(rows, labels).tolist() == [len(set(labels[r].tolist())) for r in rows]
    shares = [Counter(labels[row].tolist()).most_common(1)[0][1] / 9 for row in rows]
    assert class_purity(rows, labels) == pytest.approx(sum(shares) / 300)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(3)])
def test_pooling_of_what_was_squashed_is_ranked_before_the_squashing(pool):
    """Far from 0 all means of a tanh are one and the same number."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), pool, nn.Conv2d(2, 2, 2)).eval()
    images = 60 + torch.randn(20, 1, 9, 9)
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        sums = net[0](images)
        assert len(net[2](sums.tanh()).unique()) == 1
        expected = brute_force(pool(sums).numpy(), 4)
    assert _rows(strongest(net, images, ["2"], 4)["2"]) == expected


def test_pooling_of_anything_else_is_ranked_by_what_comes_out():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 2, 1), nn.AvgPool2d(2)).eval()
    images = torch.randn(20, 1, 9, 9)
    with torch.no_grad():
        expected = brute_force(net(images).numpy(), 4)
    assert _rows(strongest(net, images, ["3"], 4)["3"]) == expected


def test_the_pooling_of_lenet5_has_no_ties_at_the_ceiling():
    net = LeNet5().eval()
    images = torch.rand(30, 1, 32, 32) * 200 - 100
    with torch.no_grad():
        net.conv2.weight.mul_(1000)
        squashed = net.tanh3(net.conv2(net.tanh2(net.pool1(net.tanh1(net.conv1(images))))))
        ties = net.pool2(squashed).amax((2, 3)).T.sort(dim=1, descending=True).values[:, :3]
    assert (ties[:, 0] == ties[:, 2]).any(), "else this shows nothing"
    values = strongest(net, images, ["pool2"], 3)["pool2"].value
    assert (values[:, 0] > values[:, 2]).all()


class _Rectified(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.norm, self.rectifier = nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.ReLU()
        self.between, self.after = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.between(self.rectifier(self.norm(self.before(x))))
        return self.after(x.clamp_(min=0))


def test_a_unit_that_a_rectifier_silences_is_marked():
    """Below 0 is silence only where a rectifier gives the value or is given it."""
    net = _Rectified().eval()
    with torch.no_grad():
        for conv in (net.before, net.between, net.after):
            conv.weight.fill_(0.0)
            conv.bias.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    found = strongest(net, torch.rand(2, 1, 4, 4), [n for n, _ in net.named_children()], 1)
    marked = {layer: top.silent.flatten().tolist() for layer, top in found.items()}
    assert marked == {
        "before": [False, False, False],  # what comes next is a batch normalisation
        "norm": [True, True, False],
        "rectifier": [True, True, False],
        "between": [True, True, False],
        "after": [False, False, False],
    }
    assert found["norm"][0].silent.tolist() == [[True]]
    assert found["norm"].head(1).silent.tolist() == [[True], [True], [False]]


def test_whoever_wants_sees_every_map_once_with_the_number_of_its_first_image():
    torch.manual_seed(3)
    model, images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.randn(7, 1, 6, 6)
    seen: dict[str, list[torch.Tensor]] = {"0": [], "1": []}

    def see(layer: str, maps: torch.Tensor, first: int) -> None:
        assert first == sum(map(len, seen[layer]))
        seen[layer].append(maps.clone())

    strongest(model, images, ["0", "1"], 2, batch=3, see=see)
    with torch.no_grad():
        assert torch.allclose(torch.cat(seen["0"]), model[0](images), atol=1e-6)
        assert torch.allclose(torch.cat(seen["1"]), model(images), atol=1e-6)
