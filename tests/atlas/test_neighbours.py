"""Oracle: numpy.corrcoef, and every other channel looked at in turn."""

import json

import numpy as np
import pytest

from internals.atlas import Responses, find_neighbours, make_atlas, nearest, read_atlas
from tests.atlas.small_atlas import small_subject


def some_responses() -> list[Responses]:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(3, 40))
    layers = [("a", "conv1", 4), ("a", "conv2", 3), ("b", "conv1", 5), ("c", "conv9", 6)]
    return [
        Responses(network, layer, rng.normal(size=(n, 40)) + rng.normal(size=(n, 3)) @ shared + 7)
        for network, layer, n in layers
    ]


def test_the_nearest_are_those_of_the_largest_correlation_elsewhere():
    layers = some_responses()
    where = [(r.network, r.layer, c) for r in layers for c in range(len(r.maxima))]
    table = np.corrcoef(np.concatenate([r.maxima for r in layers]))
    found = nearest(layers)
    assert list(found) == ["a/conv1", "a/conv2", "b/conv1", "c/conv9"]
    for row, (network, layer, channel) in enumerate(where):
        others = [i for i, other in enumerate(where) if other[0] != network]
        best = sorted(others, key=lambda i: -table[row, i])[:3]
        answer = found[f"{network}/{layer}"][channel]
        assert [tuple(one[:3]) for one in answer] == [where[i] for i in best]
        assert [one[3] for one in answer] == pytest.approx([table[row, i] for i in best], abs=6e-4)


def test_a_channel_that_answers_all_pictures_alike_has_no_neighbours_and_is_nobodys():
    layers = some_responses()
    layers[2].maxima[1] = 0.25
    found = nearest(layers, count=50)
    assert found["b/conv1"][1] == []
    named = {tuple(one[:3]) for rows in found.values() for row in rows for one in row}
    assert ("b", "conv1", 1) not in named and ("b", "conv1", 2) in named


def test_neighbours_lie_beside_the_atlases_and_are_read_with_them(tmp_path):
    atlases, work = tmp_path / "atlases", tmp_path / "work"
    for name in ("one", "two"):
        subject = small_subject(name=name, layers=["conv1", "conv2"])
        make_atlas(subject, atlases, work / name)
    find_neighbours(atlases, work)
    read = read_atlas(atlases / "one").neighbours
    assert set(read) == {"conv1", "conv2"} and len(read["conv2"]) == 4
    # The twin of a channel is the channel itself in the other network.
    assert read["conv2"][3][0] == ("two", "conv2", 3, 1.0)
    kept = json.loads((atlases / "neighbours.json").read_text())
    (work / "one" / "maxima.safetensors").unlink()
    find_neighbours(atlases, work)
    again = json.loads((atlases / "neighbours.json").read_text())
    assert {k: v for k, v in again.items() if k.startswith("one/")} == {
        k: v for k, v in kept.items() if k.startswith("one/")
    }
