"""Oracle: PyTorch and `internals.project` on twenty drawn digits, against the page's own script.

In Node and in Chromium; in the first the preprocessing is held to the package's as well.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from internals import project
from internals.activations import Unit
from internals.atlas import SAMPLES, centred, ink_of, live_files
from internals.book import draw_digit
from internals.cli import app
from internals.data import Normalization
from internals.environment import ROOT
from internals.errors import ChapterError
from internals.models import build
from internals.training import Run, find_recipe, trained

LIVE = ROOT / "chapters" / "edition" / "live"
SCRIPT = ROOT / "docs" / "javascripts" / "lenet5.js"
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LAYERS = [
    "conv1", "tanh1", "pool1", "tanh2", "conv2", "tanh3", "pool2", "tanh4", "conv3", "tanh5",
    "linear", "tanh6", "rbf",
]  # fmt: skip
# Layer, channel, row, column.
UNITS = [
    ("conv1", 2, 7, 13), ("conv1", 5, 27, 0), ("pool1", 4, 6, 9), ("conv2", 0, 4, 4),
    ("conv2", 15, 9, 2), ("pool2", 7, 2, 3), ("conv3", 3, 0, 0), ("conv3", 119, 0, 0),
    ("linear", 0, 0, 0), ("linear", 83, 0, 0), ("rbf", 4, 0, 0),
]  # fmt: skip
PROJECTED = [0, 4, 7, 12, 18]  # which of the twenty

# What both machines run: a function of the page's module and of what it is to compute.
RUN = """(page, { manifest, weights, drawings, rasters, inputs, units, projected }) => {
  const tensors = page.readWeights(manifest, Uint8Array.from(weights).buffer)
  const inks = [
    ...drawings.map((strokes) => page.inkOf(strokes)),
    ...rasters.map((data) => ({ width: 8, height: 8, data })),
  ]
  const all = inputs.map((pixels) => page.forward(tensors, pixels))
  const one = (layers, [name, map, row, column]) => {
    const { side } = layers[name]
    const index = (map * side + row) * side + column
    const { parts, total, bias, sum, output } = page.explain(tensors, layers, name, index)
    const { size, top, left } = page.field(layers, name, index)
    return {
      pixels: [...page.backward(tensors, layers, name, index)],
      box: [top, left, size], added: total + bias, parts: parts.length, sum, output,
    }
  }
  return {
    centred: inks.map((ink) => [...page.centred(ink).pixels]),
    layers: all.map((layers) =>
      Object.fromEntries(Object.entries(layers).map(([name, { data }]) => [name, [...data]]))),
    units: projected.map((number) => units.map((unit) => one(all[number], unit))),
    answers: all.map((layers) => page.answer(layers, manifest.limit)),
  }
}"""


def network() -> torch.nn.Module:
    """LeNet-5 with the numbers of the committed file, read by its manifest."""
    manifest = json.loads((LIVE / "lenet5.json").read_text())
    content = (LIVE / manifest["file"]).read_bytes()
    state = {}
    for tensor in manifest["tensors"]:
        count = int(np.prod(tensor["shape"]))
        numbers = np.frombuffer(content, "<f4", count, tensor["offset"]).reshape(tensor["shape"])
        state[tensor["name"]] = torch.from_numpy(numbers.copy())
    model = build("lenet5")
    model.load_state_dict(state)
    return model.eval()


def rasters() -> np.ndarray:
    """Ten digits of scikit-learn's as they are, 8 x 8, one of each class."""
    digits = load_digits()
    first = [int(np.flatnonzero(digits.target == digit)[3]) for digit in range(10)]
    return digits.images[first] / 16


def inputs() -> np.ndarray:
    """Twenty inputs: the drawings that come with the page, then scikit-learn's digits."""
    inks = [*(ink_of(strokes) for strokes in SAMPLES), *rasters()]
    return np.stack([centred(ink) for ink in inks])


@cache
def pytorchs_layers() -> dict[str, torch.Tensor]:
    """The output of every layer for the twenty inputs, by calling one after the other."""
    outputs, x = {}, torch.from_numpy(inputs())[:, None]
    with torch.inference_mode():
        for name, module in network().named_children():
            x = module(x.flatten(1) if name == "linear" else x)
            outputs[name] = x.flatten(1)
    return outputs


def question() -> dict[str, Any]:
    manifest = json.loads((LIVE / "lenet5.json").read_text())
    return {
        "manifest": manifest,
        "weights": list((LIVE / manifest["file"]).read_bytes()),
        "drawings": SAMPLES,
        "rasters": [image.flatten().tolist() for image in rasters()],
        "inputs": [image.flatten().tolist() for image in inputs()],
        "units": UNITS,
        "projected": PROJECTED,
    }


def in_node(folder: Path) -> dict[str, Any]:
    shutil.copy(SCRIPT, folder / "lenet5.mjs")
    (folder / "question.json").write_text(json.dumps(question()))
    (folder / "run.mjs").write_text(
        'import { readFileSync } from "node:fs"\nimport * as page from "./lenet5.mjs"\n'
        f'const run = {RUN}\nconst question = JSON.parse(readFileSync("question.json"))\n'
        "process.stdout.write(JSON.stringify(run(page, question)))\n"
    )
    done = subprocess.run(
        [str(NODE), "run.mjs"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def in_chromium() -> dict[str, Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        blob = "new Blob([text], { type: 'text/javascript' })"
        load = f"async (text) => {{ window.lenet5 = await import(URL.createObjectURL({blob})) }}"
        page.evaluate(load, SCRIPT.read_text())
        answer = page.evaluate(f"(question) => ({RUN})(window.lenet5, question)", question())
        browser.close()
    return dict(answer)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("node", marks=pytest.mark.skipif(not NODE, reason="needs node")),
        pytest.param(
            "chromium",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not CHROMIUM, reason="needs chromium on the PATH"),
            ],
        ),
    ],
)
def computed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What the page's script computes, in each machine once."""
    if request.param == "node":
        yield in_node(tmp_path_factory.mktemp("node"))
    else:
        yield in_chromium()


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_of_the_page_is_pytorchs(computed: dict[str, Any], layer: str) -> None:
    expected = pytorchs_layers()[layer]
    found = torch.tensor([layers[layer] for layers in computed["layers"]])
    assert found.shape == expected.shape and len(found) == 20
    difference = (found - expected).abs().amax(dim=1) / expected.abs().amax(dim=1)
    assert difference.max() < 1e-5


def test_the_page_centres_ink_as_the_package_does(computed: dict[str, Any]) -> None:
    found = np.array(computed["centred"]).reshape(-1, 32, 32)
    assert np.abs(found - inputs()).max() < 1e-6


def test_ink_is_where_mnist_has_it(computed: dict[str, Any]) -> None:
    """Longer side 20 pixels, centre of mass within half a pixel of the middle, values in range."""
    for digit in computed["centred"]:
        ink = (np.array(digit).reshape(32, 32) + 0.1) / 1.275
        rows, columns = (np.flatnonzero((ink > 1e-6).any(axis=axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        for axis in (0, 1):
            centre = ink.sum(axis=1 - axis) @ (np.arange(32) + 0.5) / ink.sum()
            assert abs(centre - 16) <= 0.5 + 1e-6
        assert ink.min() >= -1e-6 and ink.max() <= 1 + 1e-6


def test_input_range_is_that_of_training() -> None:
    image = torch.from_numpy((inputs()[:1, None] + 0.1) / 1.275 * 255)
    expected = Normalization.from_range(-0.1, 1.175).apply(image)
    assert torch.allclose(torch.from_numpy(inputs()[:1, None]), expected, atol=1e-5)


@pytest.mark.slow
def test_projections_of_the_page_are_the_packages(computed: dict[str, Any]) -> None:
    images = torch.from_numpy(inputs()[PROJECTED])[:, None]
    asked = [(n, k) for n in range(len(PROJECTED)) for k, u in enumerate(UNITS) if u[0] != "rbf"]
    units = [Unit(*UNITS[k]) for _, k in asked]
    of_image = [number for number, _ in asked]
    wanted = project(network(), images, units, "guided", tanh="agreeing", image_index=of_image)
    for (number, k), expected in zip(asked, wanted, strict=True):
        one = computed["units"][number][k]
        top, left, bottom, right = expected.box
        assert one["box"] == [top, left, bottom - top] and bottom - top == right - left
        pixels = torch.tensor(one["pixels"]).view(1, 32, 32)
        scale = expected.pixels.abs().max()
        assert scale > 0
        assert (pixels - expected.full()).abs().max() < 1e-5 * scale, expected.unit
        assert abs(one["sum"] - expected.value) < 1e-5 * max(1, abs(expected.value))


def test_a_distance_goes_back_by_its_derivative_and_the_rule_at_tanh(
    computed: dict[str, Any],
) -> None:
    """As a unit that adds up F6, each by the slope of its squared difference, where that agrees."""
    model, image = network(), torch.from_numpy(inputs()[PROJECTED[1]])[None, None]
    maps = {name: outputs[PROJECTED[1]] for name, outputs in pytorchs_layers().items()}
    slope = 2 * (maps["tanh6"] - model.get_buffer("rbf.prototypes")[4])
    signal = torch.where(slope * maps["linear"] > 0, slope, 0.0) * 1.7159 * 2 / 3
    parts = [*list(model.children())[:-3], torch.nn.Flatten(), torch.nn.Linear(120, 1, bias=False)]
    parts[-1].weight.data = signal[None] @ model.get_parameter("linear.weight").detach()
    unit = Unit(str(len(parts) - 1), 0)
    (expected,) = project(torch.nn.Sequential(*parts), image, unit, "guided", tanh="agreeing")
    found = computed["units"][1][UNITS.index(("rbf", 4, 0, 0))]["pixels"]
    pixels = torch.tensor(found).view(1, 32, 32)
    assert (pixels - expected.full()).abs().max() < 1e-5 * expected.pixels.abs().max()


def test_what_is_shown_of_a_unit_adds_up_to_its_value(computed: dict[str, Any]) -> None:
    sources = {
        "conv1": 1,
        "pool1": 1,
        "conv2": 6,
        "pool2": 1,
        "conv3": 16,
        "linear": 120,
        "rbf": 84,
    }
    for found in computed["units"]:
        for unit, one in zip(UNITS, found, strict=True):
            assert one["parts"] == sources[unit[0]]
            assert abs(one["added"] - one["sum"]) < 1e-6 * max(1, abs(one["sum"]))
            if unit[0] != "rbf":
                assert abs(one["output"] - 1.7159 * np.tanh(one["sum"] * 2 / 3)) < 1e-6


def test_each_drawing_that_comes_with_the_page_is_read_rightly(computed: dict[str, Any]) -> None:
    answers = computed["answers"][:10]
    assert [answer["digit"] for answer in answers] == list(range(10))
    assert not any(answer["refused"] for answer in answers)


# The committed files


def test_the_committed_weights_are_those_of_their_manifest() -> None:
    manifest = json.loads((LIVE / "lenet5.json").read_text())
    content = (LIVE / manifest["file"]).read_bytes()
    assert len(content) == manifest["bytes"] < 250_000
    assert hashlib.sha256(content).hexdigest() == manifest["sha256"]
    assert manifest["samples"] == json.loads(json.dumps(SAMPLES))


def test_a_damaged_manifest_is_told_and_none_leaves_no_trace(tmp_path: Path) -> None:
    assert draw_digit(tmp_path, "chapters/01_lenet5/") == ""
    (tmp_path / "live").mkdir()
    for damaged in ('{"samples": [[', "[]", "{}", '{"samples": [], "example": 4}'):
        (tmp_path / "live" / "lenet5.json").write_text(damaged)
        with pytest.raises(ChapterError, match="internals live"):
            draw_digit(tmp_path, "chapters/01_lenet5/")


@pytest.mark.slow
def test_the_committed_weights_have_the_score_and_the_limit_that_are_told(real_mnist) -> None:
    manifest = json.loads((LIVE / "lenet5.json").read_text())
    record = json.loads((ROOT / "chapters/edition/01_lenet5/run.json").read_text())
    model, normalization = network(), Normalization.from_range(-0.1, 1.175)
    with torch.inference_mode():
        test, held_out = (
            model(normalization.apply(images.images))
            for images in (real_mnist.test, real_mnist.validation)
        )
    top1 = (test.argmin(dim=1) == real_mnist.test.labels).double().mean().item()
    assert round(top1, 4) == round(manifest["test_top1"], 4)
    if record["profile"] == "full":
        assert manifest["test_top1"] == record["metrics"]["test_top1"]
    right = held_out.gather(1, real_mnist.validation.labels[:, None])
    nearer = (right <= manifest["limit"]).double().mean().item()
    assert abs(nearer - manifest["accepted"] / 100) < 0.001


@pytest.fixture(scope="module")
def published(digits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, bytes]]:
    """A LeNet-5 after one step, on the digits that are always at hand, and its files."""
    recipe = replace(find_recipe("lenet5", "smoke"), least_steps=1, most_images=64, batch_size=64)
    run = trained(recipe, digits, folder=tmp_path_factory.mktemp("run") / "lenet5")
    return run, live_files(run, digits.validation, "a key")


@pytest.mark.slow
def test_what_is_published_of_a_run_is_its_weights_and_a_limit_from_digits_held_out(
    published, digits
) -> None:
    run, files = published
    manifest = json.loads(files["lenet5.json"])
    parts = [
        np.frombuffer(files["lenet5.f32"], "<f4", int(np.prod(t["shape"])), t["offset"])
        for t in manifest["tensors"]
    ]
    state = run.model.state_dict()
    assert [t["name"] for t in manifest["tensors"]] == list(state)
    for part, tensor in zip(parts, state.values(), strict=True):
        assert np.array_equal(part, tensor.numpy().ravel())
    assert sum(map(len, parts)) * 4 == manifest["bytes"] == len(files["lenet5.f32"])
    with torch.inference_mode():
        outputs = run.model(run.normalization.apply(digits.validation.images))
    right = sorted(outputs[range(len(outputs)), digits.validation.labels].tolist())
    place = int(0.95 * (len(right) - 1))
    assert right[place] - 0.005 <= manifest["limit"] <= right[place + 1] + 0.005
    assert (manifest["run"], manifest["test_top1"]) == ("a key", run.test.top1)


@pytest.mark.slow
def test_the_command_writes_all_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published, digits, real_mnist
) -> None:
    monkeypatch.setenv("INTERNALS_BOOK", str(tmp_path))
    folder = tmp_path / "chapters" / "edition" / "live"
    folder.mkdir(parents=True)
    (folder / "lenet5.f32").write_text("of an earlier edition")
    refused = CliRunner().invoke(app, ["live"])
    assert "internals train lenet5 --profile full" in str(refused.exception)
    assert [path.name for path in folder.iterdir()] == ["lenet5.f32"]
    run, files = published
    monkeypatch.setattr(
        "internals.atlas.live.finished_run", lambda seed: (run, digits.validation, "a key")
    )
    made = CliRunner().invoke(app, ["live"], catch_exceptions=False)
    assert made.exit_code == 0
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found == files
