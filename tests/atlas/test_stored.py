"""Oracle: the tables that were stored, boxes by hand, and files damaged a byte at a time."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from internals.atlas import (
    Atlas,
    AtlasLayer,
    DamagedAtlasError,
    PictureList,
    atlas_state,
    find_atlases,
    layer_json,
    read_atlas,
    seal_atlas,
    write_pictures,
)

PICTURES = PictureList(
    "zoo", ("cat", "dog"), tuple(f"{n}.png" for n in range(400)), (0, 1) * 200, "Whose they are."
)


def a_layer(name: str = "conv1", **changes) -> AtlasLayer:
    rng = np.random.default_rng(1)
    values = {
        "name": name, "kind": "3 x 3 convolution", "channels": 6, "map": (10, 10),
        "field": {"size": (10, 12), "stride": (3, 4), "start": (-2, -5)}, "whole": False,
        "tile": (10, 12), "grey": False, "rectified": True, "normaliser": "bn",
        "scales": ((0.5, True), (1.0, False)),
        "control_scales": (), "sheets": {"patches": f"{name}.patches.webp"}, "main": True,
        "image_size": (30, 40), "image": rng.integers(0, 400, (6, 3)),
        "row": rng.integers(0, 10, (6, 3)), "column": rng.integers(0, 10, (6, 3)),
        "value": rng.normal(size=(6, 3)).astype(np.float32),
        "fires": rng.integers(0, 300, (6, 2)), "excited": rng.integers(0, 3, (2, 2)) + 1, **changes,
    }  # fmt: skip
    return AtlasLayer(**values)


def stored(folder: Path, *layers: AtlasLayer) -> Atlas:
    (folder / "net").mkdir(parents=True)
    for layer in layers:
        for file in layer.sheets.values():
            (folder / "net" / file).write_bytes(b"tiles of " + file.encode())
    write_pictures(folder, PICTURES)
    record = {"title": "Net", "input": [3, 30, 40], "pictures": PICTURES.fingerprint, "key": "k"}
    seal_atlas(folder / "net", record, layers)
    return read_atlas(folder / "net")


def test_what_is_read_is_what_was_stored(tmp_path):
    layers = [
        a_layer("conv1"),
        a_layer("a.b.conv2", fires=None, excited=None, main=False, field=None),
    ]
    atlas = stored(tmp_path, *layers)
    assert list(atlas.layers) == ["conv1", "a.b.conv2"] and atlas.pictures == PICTURES
    for layer in layers:
        read = atlas.layers[layer.name]
        assert read == layer  # but for the tables
        for name in ("image", "row", "column", "value"):
            assert np.array_equal(getattr(read, name), getattr(layer, name))
    assert np.array_equal(atlas.layers["conv1"].fires, layers[0].fires)
    assert np.array_equal(atlas.layers["conv1"].excited, layers[0].excited)
    assert atlas.layers["a.b.conv2"].fires is None and atlas.layers["a.b.conv2"].excited is None
    assert [layer.name for layer in atlas.main] == ["conv1"] and atlas.neighbours == {}
    assert [one.network for one in find_atlases(tmp_path)] == ["net"]


def test_numbers_beyond_a_byte_are_kept(tmp_path):
    layer = a_layer(image=np.full((6, 3), 399), row=np.full((6, 3), 70_000))
    read = stored(tmp_path, layer).layers["conv1"]
    assert (read.image == 399).all() and (read.row == 70_000).all()


def test_boxes_insets_and_silence_by_hand():
    layer = a_layer(
        row=np.array([[0, 9, 3]] * 6), column=np.array([[0, 9, 3]] * 6),
        value=np.array([[1.0, 0.0, -1.0]] * 6, np.float32),
    )  # fmt: skip
    assert layer.box(0, 0) == (-2, -5, 8, 7) and layer.inset(0, 0) == (2, 0, 0, 5)
    assert layer.box(0, 1) == (25, 31, 35, 43) and layer.inset(0, 1) == (0, 3, 5, 0)
    assert layer.box(0, 2) == (7, 7, 17, 19) and layer.inset(0, 2) == (0, 0, 0, 0)
    half = replace(layer, tile=(5, 6))
    assert half.inset(0, 0) == (1, 0, 0, 2)
    assert [layer.silent(0, place) for place in range(3)] == [False, True, True]
    assert not replace(layer, rectified=False).silent(0, 2)
    whole = replace(layer, whole=True, tile=(30, 40))
    assert whole.box(0, 0) == (0, 0, 30, 40) and whole.inset(0, 0) == (0, 0, 0, 0)


def the_list(atlases):
    """The file with the names of the pictures."""
    [path] = atlases.glob("pictures/*")
    return path


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "net/conv1.patches.webp").write_bytes(b"other"),
        lambda folder: (folder / "net/conv1.patches.webp").unlink(),
        lambda folder: (folder / "net/channels.safetensors").write_bytes(b"{}"),
        lambda folder: (folder / "net/atlas.json").write_text("[1"),
        lambda folder: (folder / "net/atlas.json").write_text("[" * 100_000),
        lambda folder: (folder / "net/atlas.json").write_text('{"form": "one"}'),
        lambda folder: (folder / "net/atlas.json").write_text(
            (folder / "net/atlas.json").read_text().replace('"Net"', '"Nut"')
        ),
        lambda folder: the_list(folder).unlink(),
        lambda folder: the_list(folder).write_bytes(gzip.compress(b"{}")),
        lambda folder: the_list(folder).write_bytes(the_list(folder).read_bytes()[:-9]),
        lambda folder: the_list(folder).write_bytes(
            gzip.compress(gzip.decompress(the_list(folder).read_bytes()).replace(b"0.p", b"x.p"))
        ),
        lambda folder: (folder / "neighbours.json").write_text("[]"),
        lambda folder: (folder / "neighbours.json").write_text('{"net/conv1": [1]}'),
    ],
)
def test_damage_is_one_line(tmp_path, damage):
    stored(tmp_path, a_layer())
    damage(tmp_path)
    with pytest.raises(DamagedAtlasError) as caught:
        find_atlases(tmp_path)
    assert "\n" not in str(caught.value) and "make it again" in str(caught.value)
    assert atlas_state(tmp_path / "net") == "damaged"


def test_a_sheet_of_another_kind_may_join_a_stored_atlas(tmp_path):
    atlas = stored(tmp_path, a_layer())
    (atlas.folder / "conv1.optimised.webp").write_bytes(b"dreams")
    layer = atlas.layers["conv1"]
    more = replace(layer, sheets={**layer.sheets, "optimised": "conv1.optimised.webp"})
    seal_atlas(atlas.folder, atlas.record, [more])
    again = read_atlas(atlas.folder)
    assert again.layers["conv1"].sheets["optimised"] == "conv1.optimised.webp"
    assert again.record["key"] == atlas.record["key"]
    (atlas.folder / "conv1.optimised.webp").write_bytes(b"others")
    with pytest.raises(DamagedAtlasError):
        read_atlas(atlas.folder)


def test_a_number_of_no_picture_is_damage(tmp_path):
    with pytest.raises(DamagedAtlasError):
        stored(tmp_path, a_layer(image=np.full((6, 3), 400)))


def test_states_are_told_apart(tmp_path):
    assert atlas_state(tmp_path / "net") == "missing"
    stored(tmp_path, a_layer())
    assert atlas_state(tmp_path / "net") == "stale"  # made by no code of today
    assert find_atlases(tmp_path / "nowhere") == []


def test_one_of_another_form_is_old_and_not_damaged(tmp_path):
    stored(tmp_path, a_layer())
    path = tmp_path / "net/atlas.json"
    path.write_text(path.read_text().replace('"form": 3', '"form": 1'))
    assert atlas_state(tmp_path / "net") == "stale"
    with pytest.raises(DamagedAtlasError, match="is not the record of an atlas of today"):
        read_atlas(tmp_path / "net")


def test_a_layer_as_json_names_its_pictures(tmp_path):
    layer = a_layer()
    values = json.loads(json.dumps(layer_json(stored(tmp_path, layer), "conv1")))
    assert len(values["channels"]) == 6 and values["mined"] == 400
    for channel, entry in enumerate(values["channels"]):
        files = [values["files"][n] for n in entry["images"]]
        assert files == [f"{n}.png" for n in layer.image[channel]]
        labels = [values["labels"][n] for n in entry["images"]]
        assert labels == [int(n) % 2 for n in layer.image[channel]]
        assert entry["rows"] == layer.row[channel].tolist()
        assert entry["values"] == pytest.approx(layer.value[channel].tolist(), rel=1e-5)
        assert entry["fires"] == layer.fires[channel].tolist()
        assert entry.get("excited") == (layer.excited[channel].tolist() if channel < 2 else None)
