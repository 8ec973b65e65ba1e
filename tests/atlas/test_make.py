"""Oracle: pictures cropped by hand, autograd on whole images, and every position counted."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from internals import Network, Unit, project
from internals.activations import strongest
from internals.atlas import Atlas, atlas_state, make_atlas, read_atlas
from internals.data import Normalized
from internals.environment import ROOT
from tests.atlas.small_atlas import (
    COUNT,
    PLAIN,
    SIDE,
    small_network,
    small_subject,
    some_pictures,
)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Atlas:
    folder = tmp_path_factory.mktemp("atlas")
    return read_atlas(make_atlas(small_subject(), folder / "atlases", folder / "work"))


def tiles(atlas: Atlas, layer: str, kind: str, columns: int = 5) -> np.ndarray:
    """(channels, places, height, width, 3) of a sheet."""
    one = atlas.layers[layer]
    height, width = one.tile
    with Image.open(atlas.folder / one.sheets[kind]) as picture:
        sheet = np.asarray(picture.convert("RGB")).astype(np.int16)
    rows = len(sheet) // height
    return sheet.reshape(rows, height, columns, width, 3).swapaxes(1, 2)


def units(atlas: Atlas, layer: str):
    """(channel, place, image, row, column) of all that are shown."""
    one = atlas.layers[layer]
    for channel in range(one.shown):
        for place in range(one.image.shape[1]):
            at = (channel, place)
            yield *at, int(one.image[at]), int(one.row[at]), int(one.column[at])


def maps_of(layer: str, x: torch.Tensor) -> torch.Tensor:
    """What a layer of the plain network puts out."""
    model = small_network().model
    maps = []
    dict(model.named_modules())[layer].register_forward_hook(
        lambda module, inputs, output: maps.append(output)
    )
    model(x)
    return maps[0]


def signal_on_whole_image(layer: str, image: int, channel: int, row: int, column: int):
    """Plain autograd, on the plain network."""
    x = PLAIN.apply(some_pictures().images[image : image + 1]).requires_grad_()
    value = maps_of(layer, x)[0, channel, row, column]
    return value.item(), torch.autograd.grad(value, x)[0][0].numpy()


def padded_crop(picture: np.ndarray, box, outside: float) -> np.ndarray:
    """`box` of (c, h, w), which may reach beyond it."""
    top, left, bottom, right = box
    margin = 40
    wide = np.pad(picture, ((0, 0), (margin, margin), (margin, margin)), constant_values=outside)
    return wide[:, top + margin : bottom + margin, left + margin : right + margin]


# Start, stride and size of the fields, by hand.
FIELDS = {"conv1": (-1, 2, 3), "conv2": (-3, 2, 7), "conv3": (-3, 2, 7)}


@pytest.mark.parametrize("layer", list(FIELDS))
def test_patches_are_the_fields_cut_out_of_the_pictures(atlas, layer):
    start, stride, size = FIELDS[layer]
    sheet, pictures = tiles(atlas, layer, "patches"), some_pictures()
    for channel, place, image, row, column in units(atlas, layer):
        top, left = start + stride * row, start + stride * column
        wanted = padded_crop(
            pictures.images[image].numpy(), (top, left, top + size, left + size), 128
        )
        assert np.array_equal(sheet[channel, place], np.moveaxis(wanted, 0, -1))


@pytest.mark.parametrize("layer", list(FIELDS))
def test_projections_are_the_gradient_on_the_whole_image(atlas, layer):
    sheet, one = tiles(atlas, layer, "projections"), atlas.layers[layer]
    for channel, place, image, row, column in units(atlas, layer):
        value, signal = signal_on_whole_image(layer, image, channel, row, column)
        assert one.value[channel, place] == pytest.approx(value, rel=1e-5, abs=1e-5)
        full, _ = one.scales[channel]
        crop = padded_crop(signal, one.box(channel, place), 0)
        wanted = np.clip(0.5 + np.moveaxis(crop, 0, -1) / (2 * full), 0, 1) * 255
        assert np.abs(sheet[channel, place] - wanted).max() <= 1.5


def test_images_are_made_for_the_middle_units_of_the_layers_that_are_named(tmp_path):
    """By the plain network on what is read back from the sheet; a field of 3 and one of 23."""
    named = ["conv2", "conv4"]
    subject = small_subject(optimised=named, steps=200)
    atlas = read_atlas(make_atlas(subject, tmp_path / "atlases", tmp_path / "work"))
    assert [name for name, layer in atlas.layers.items() if layer.optimised] == named
    for layer, (top, size) in {"conv2": (9, 7), "conv4": (1, 23)}.items():
        one, sheet = atlas.layers[layer], tiles(atlas, layer, "optimised", columns=1)
        assert sheet.shape[:4] == (one.shown, 1, *one.tile) and one.tile == (size, size)
        (wanted,) = subject.network.optimise(
            Unit(layer, 2, 6, 6), pictures=subject.pictures, steps=200
        )
        assert wanted.box == (top, top, top + size, top + size)
        lossless = one.tile[0] <= 16
        difference = np.abs(sheet[2, 0] - np.moveaxis(wanted.picture.numpy(), 0, -1))
        assert difference.max() == 0 if lossless else difference.mean() < 12
        pixels = torch.full((1, 3, SIDE, SIDE), 128.0)
        pixels[0, :, top : top + size, top : top + size] = wanted.picture
        maps = maps_of(layer, PLAIN.apply(pixels))
        assert one.optimised[2] == pytest.approx(maps[0, 2, 6, 6].item(), rel=1e-3)
        others = maps_of(layer, PLAIN.apply(subject.pictures.images))[:, 2, 6, 6]
        assert one.optimised[2] > others.max()


def test_a_field_larger_than_the_image_gives_whole_images(atlas):
    one, sheet = atlas.layers["conv4"], tiles(atlas, "conv4", "patches")
    assert one.field["size"] == (23, 23) and not one.whole
    wide = small_subject(pictures=some_pictures(side=20), layers=["conv4"])
    assert sheet.shape[2:] == (23, 23, 3)
    wide.network.input_shape = (3, 20, 20)
    folder = atlas.folder.parent.parent
    whole = read_atlas(make_atlas(wide, folder / "other", folder / "work2"))
    one, sheet = whole.layers["conv4"], tiles(whole, "conv4", "patches")
    assert one.whole and one.tile == (20, 20) and one.inset(0, 0) == (0, 0, 0, 0)
    picture = some_pictures(side=20).images[int(one.image[0, 0])].numpy()
    assert np.array_equal(sheet[0, 0], np.moveaxis(picture, 0, -1))


def test_large_fields_are_reduced_first_and_scaled_then(tmp_path):
    """Within what the codec loses; any other tile is farther away."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 71, stride=3), nn.ReLU()).eval()
    soft = nn.functional.avg_pool2d(model[0].weight, 15, 1, 7)
    model[0].weight.data.copy_(soft - soft.mean(dim=(2, 3), keepdim=True))
    network = Network(model, normalization=PLAIN, input_shape=(3, 80, 80))
    pictures = some_pictures(side=80)
    subject = small_subject(network=network, pictures=pictures, shown=3, k=4)
    made = read_atlas(make_atlas(subject, tmp_path / "atlases", tmp_path / "work"))
    one = made.layers["0"]
    assert one.tile == (64, 64) and not one.whole
    for kind in ("patches", "projections"):
        sheet, errors = tiles(made, "0", kind, columns=4), []
        for channel in range(3):
            top, left, bottom, right = one.box(channel, 0)
            if kind == "patches":
                piece = pictures.images[int(one.image[channel, 0]), :, top:bottom, left:right]
            else:
                piece = model[0].weight[channel].detach()
            small = [
                np.asarray(Image.fromarray(plane).resize((64, 64), Image.Resampling.BOX))
                for plane in piece.float().numpy() / (255 if kind == "patches" else 1)
            ]
            wanted = np.stack(small, axis=-1)
            if kind == "projections":
                full, _ = one.scales[channel]
                assert full == pytest.approx(np.quantile(np.abs(wanted), 0.998), rel=0.02)
                wanted = np.clip(0.5 + wanted / (2 * full), 0, 1)
            errors.append([np.abs(sheet[c, 0] - wanted * 255).mean() for c in range(3)])
        own = np.diag(errors)
        others = np.array(errors)[~np.eye(3, dtype=bool)]
        assert own.max() < 12 and others.min() > 2 * own.max()


def test_values_and_images_are_those_of_strongest_and_of_project(atlas):
    network, inputs = small_network(), Normalized(some_pictures(), PLAIN)
    found = strongest(network.model, inputs, ["conv1", "conv2", "conv3", "conv4"], 5)
    for layer, top in found.items():
        one = atlas.layers[layer]
        for name in ("image", "row", "column"):
            assert np.array_equal(getattr(one, name), getattr(top, name).numpy())
        # The last bits depend on how many images share a pass.
        assert np.allclose(one.value, top.value.numpy(), rtol=1e-5)
    top = found["conv2"][2]
    values = [p.value for p in project(network, some_pictures(), top, "gradient")]
    assert np.allclose(atlas.layers["conv2"].value[2], values, rtol=1e-5)


def test_firing_is_counted_by_class_after_the_normalisation(atlas):
    """Also where its scale is negative, so that the smallest value decides."""
    model = small_network().model
    x = PLAIN.apply(some_pictures().images)
    with torch.no_grad():
        normalised = model.bn1(model.conv1(x))
        second = model.conv2(torch.relu(normalised))
    labels = some_pictures().labels
    for layer, maps in (("conv1", normalised), ("conv2", second)):
        wanted = np.zeros((maps.shape[1], 3), int)
        for image in range(COUNT):
            for channel in range(maps.shape[1]):
                wanted[channel, labels[image]] += bool((maps[image, channel] > 0).any())
        assert np.array_equal(atlas.layers[layer].fires, wanted)
        assert 0 < wanted.sum() < wanted.shape[0] * COUNT


def test_half_of_the_strongest_is_counted_by_class_of_the_channels_shown(atlas):
    """Where the normalisation turns a channel round, the strongest here do not excite it."""
    model = small_network().model
    x, labels = PLAIN.apply(some_pictures().images), some_pictures().labels.tolist()
    with torch.no_grad():
        first = model.conv1(x)
        normalised = model.bn1(first)
        second = model.conv2(torch.relu(normalised))
    turned = model.bn1.weight < 0
    assert turned.any() and not turned.all()
    assert atlas.layers["conv1"].normaliser == "bn1" and atlas.layers["conv2"].normaliser == ""
    for layer, maps in (("conv1", normalised), ("conv2", second)):
        shown = atlas.layers[layer].shown
        wanted = np.zeros((shown, 3), int)
        for channel in range(shown):
            heights = [float(picture[channel].max()) for picture in maps]
            for image, height in enumerate(heights):
                strong = height >= max(heights) / 2 > 0
                if strong and not (layer == "conv1" and turned[channel]):
                    wanted[channel, labels[image]] += 1
        assert np.array_equal(atlas.layers[layer].excited, wanted)
        assert 0 < wanted.sum() < atlas.layers[layer].fires[:shown].sum()


def test_many_pictures_are_mined_in_pieces_to_the_same_end(tmp_path):
    pictures = some_pictures(1100)
    subject = small_subject(pictures=pictures, layers=["conv1"], shown=1)
    made = read_atlas(make_atlas(subject, tmp_path / "atlases", tmp_path / "work"))
    assert len(list((tmp_path / "work").glob("mined-*/*"))) == 3
    inputs = Normalized(pictures, PLAIN)
    found = strongest(small_network().model, inputs, ["conv1", "conv3"], 5)
    for layer, top in found.items():
        one = made.layers[layer]
        for name in ("image", "row", "column"):
            assert np.array_equal(getattr(one, name), getattr(top, name).numpy())
        # The last bits depend on how many images share a pass.
        assert np.allclose(one.value, top.value.numpy(), rtol=1e-5)
    model = small_network().model
    with torch.no_grad():
        normalised = model.bn1(model.conv1(inputs[:]))
    fired = (normalised > 0).flatten(2).any(dim=2).sum(dim=0)
    assert made.layers["conv1"].fires.sum(axis=1).tolist() == fired.tolist()


def test_where_no_rectifier_follows_nothing_is_said_to_fire(atlas):
    for layer in ("conv3", "conv4"):
        assert atlas.layers[layer].fires is None and atlas.layers[layer].excited is None


def test_the_control_is_the_same_units_under_other_weights(atlas):
    one = atlas.layers["conv2"]
    trained, control = (tiles(atlas, "conv2", kind) for kind in ("projections", "control"))
    assert control.shape == trained.shape and len(one.control_scales) == 4
    assert np.abs(control - trained).mean() > 10
    # Beyond the picture there is nothing for either: grey.
    at = [(c, p) for c, p, *_ in units(atlas, "conv2") if one.inset(c, p)[0] > 0]
    assert at and all((control[c, p, : one.inset(c, p)[0]] == 128).all() for c, p in at)


def test_the_strongest_whole_picture_is_there_where_it_may_be_shown(atlas, tmp_path):
    one = atlas.layers["conv1"]
    with Image.open(atlas.folder / one.sheets["images"]) as picture:
        column = np.asarray(picture.convert("RGB"))
    assert column.shape == (4 * SIDE, SIDE, 3)
    wanted = some_pictures().images[int(one.image[2, 0])].numpy()
    assert np.array_equal(column[2 * SIDE : 3 * SIDE], np.moveaxis(wanted, 0, -1))
    hidden = small_subject(show_images=False, layers=["conv1"])
    made = read_atlas(make_atlas(hidden, tmp_path / "atlases", tmp_path / "work"))
    assert "images" not in made.layers["conv1"].sheets


def test_grey_pictures_have_grey_tiles(tmp_path):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU()).eval()
    grey = Network(model, normalization=type(PLAIN)((0.5,), (0.25,)), input_shape=(1, SIDE, SIDE))
    subject = small_subject(network=grey, pictures=some_pictures(channels=1))
    made = read_atlas(make_atlas(subject, tmp_path / "atlases", tmp_path / "work"))
    assert made.layers["0"].grey
    sheet = tiles(made, "0", "patches")
    assert (sheet[..., 0] == sheet[..., 1]).all() and (sheet[..., 0] == sheet[..., 2]).all()


def test_layers_that_are_called_twice_are_skipped_with_a_line(tmp_path, capfd):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.once, self.twice = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

        def forward(self, x):
            return self.twice(self.twice(torch.relu(self.once(x))))

    network = Network(Twice().eval(), normalization=PLAIN, input_shape=(3, SIDE, SIDE))
    subject = small_subject(network=network)
    made = read_atlas(make_atlas(subject, tmp_path / "atlases", tmp_path / "work"))
    assert list(made.layers) == ["once"]
    lines = [line for line in capfd.readouterr().err.splitlines() if "skipped" in line]
    assert len(lines) == 1 and "'twice' is called 2 times" in lines[0]


def test_a_second_run_changes_nothing_and_a_third_does_what_is_missing(tmp_path):
    atlases, work = tmp_path / "atlases", tmp_path / "work"
    folder = make_atlas(small_subject(), atlases, work)
    record = (folder / "atlas.json").read_bytes()
    assert make_atlas(small_subject(), atlases, work) == folder
    assert (folder / "atlas.json").read_bytes() == record
    (folder / "conv1.patches.webp").write_bytes(b"damaged")
    (drawn,) = work.glob("drawn-*")
    (drawn / "conv2.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in work.rglob("*.json")}
    mined = {path: path.stat().st_mtime_ns for path in work.glob("mined-*/*")}
    made = read_atlas(make_atlas(small_subject(), atlases, work))
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert {path: path.stat().st_mtime_ns for path in mined} == mined and mined
    assert made.layers["conv2"].sheets and atlas_state(folder) == "fresh"


@pytest.mark.slow
def test_other_weights_or_pictures_make_another_atlas(tmp_path):
    atlases, work = tmp_path / "atlases", tmp_path / "work"
    folder = make_atlas(small_subject(), atlases, work)
    first = read_atlas(folder).record
    other = small_subject()
    with torch.no_grad():
        other.network.model.conv2.weight.mul_(-1)
    second = read_atlas(make_atlas(other, atlases, work)).record
    third = read_atlas(make_atlas(small_subject(pictures=some_pictures(9)), atlases, work)).record
    assert len({first["weights"], second["weights"]}) == 2 and third["mined"] == 9
    assert len({record["key"] for record in (first, second, third)}) == 3
    lists = [path.name.partition(".")[0] for path in (atlases / "pictures").iterdir()]
    assert lists == [third["pictures"]]  # the list that nobody names any more is gone


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_or_the_old_atlas_and_the_next_goes_on(tmp_path):
    atlases, work = tmp_path / "atlases", tmp_path / "work"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.atlas.small_atlas", str(atlases), str(work)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = iter(process.stdout.readline, "")
        assert any(line.strip() == "waiting" for line in lines)
    finally:
        process.kill()
        process.wait(timeout=30)
    assert not list(atlases.glob("*/atlas.json")) and len(list(work.rglob("*.json"))) == 1
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.json")}
    made = read_atlas(make_atlas(small_subject(), atlases, work))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    fresh = read_atlas(make_atlas(small_subject(), tmp_path / "b", tmp_path / "c"))
    assert made.record["files"] == fresh.record["files"]
    left = [path.name for path in Path(atlases).rglob(".*")]
    assert left == []
