"""The network that runs in a page while one draws: the published LeNet-5, as files for the site."""

import hashlib
import json
from typing import Any

import numpy as np
import torch

from internals.activations.record import capture
from internals.atlas.handwriting import SAMPLES, centred, ink_of
from internals.book.outputs import to_webp
from internals.data.image_set import ImageSet
from internals.data.load import load
from internals.errors import TrainingError
from internals.figures import LayerMaps, feature_maps, natural, sheets, signed
from internals.models.lenet5 import AMPLITUDE
from internals.training.provenance import weights_folders, weights_key
from internals.training.recipes import find_recipe
from internals.training.run import WEIGHTS, Run, trained

NETWORK, PROFILE = "lenet5", "full"
WEIGHTS_FILE, MANIFEST = "lenet5.f32", "lenet5.json"
FIRST_LOOK, STILL = "first-look.webp", "still.webp"

_ACCEPTED = 95  # of a hundred held-out digits lie no farther from their own bitmap than the limit
_EXAMPLE = 4  # the digit that is there before the reader draws one
_SQUASHED = ("tanh1", "tanh2", "tanh3", "tanh4", "tanh5", "tanh6")
_BITMAP = (12, 7)
_SHEET_WIDTH = 168  # pixels: six maps of conv1


def finished_run(seed: int = 0) -> tuple[Run, ImageSet, str]:
    """The published LeNet-5, the training digits that were held out, and the key of its weights.

    Nothing is trained.

    Args:
        seed: That of the run.

    Raises:
        TrainingError: It has not been trained.
        DataError: MNIST is not at hand.
    """
    recipe = find_recipe(NETWORK, PROFILE)
    splits = load(recipe.data, "real", size=recipe.stored, seed=seed)
    if not any((folder / WEIGHTS).exists() for folder in weights_folders(recipe, splits, seed)):
        raise TrainingError(
            f"no finished {NETWORK} of profile {PROFILE} and seed {seed} is kept; "
            f"`internals train {NETWORK} --profile {PROFILE} --data real --seed {seed}` trains it"
        )
    run = trained(recipe, splits, seed=seed)
    return run, splits.validation, weights_key(recipe, splits, seed)


def live_files(run: Run, held_out: ImageSet, key: str) -> dict[str, bytes]:
    """What the page needs, by file name.

    Weights as float32, little endian; a manifest that names them, the score, and the distance
    beyond which the page refuses to answer; and of one example drawing a sheet of all maps, tile
    by tile, and a still picture for readers without scripts.

    Args:
        run: LeNet-5 in its default form.
        held_out: Labelled digits that it was not trained on, from which that distance is taken.
        key: What its weights are called.
    """
    tensors, content = [], b""
    for name, tensor in run.model.state_dict().items():
        tensors.append({"name": name, "shape": list(tensor.shape), "offset": len(content)})
        content += tensor.numpy().astype("<f4").tobytes()
    pixels = torch.from_numpy(centred(ink_of(SAMPLES[_EXAMPLE])))[None, None]
    layers = capture(run.model, pixels, [*_SQUASHED, "rbf"])
    maps = {name: layer[0].numpy() for name, layer in layers.items()}
    codes = run.model.get_buffer("rbf.prototypes").view(-1, 1, *_BITMAP).numpy()
    manifest = {
        "network": run.recipe.network,
        "run": key,
        "file": WEIGHTS_FILE,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "tensors": tensors,
        "test_top1": run.test.top1,
        "limit": _limit(run, held_out),
        "accepted": _ACCEPTED,
        "example": _EXAMPLE,
        "penalties": [round(float(penalty), 3) for penalty in maps["rbf"].flatten()],
        "samples": SAMPLES,
    }
    return {
        WEIGHTS_FILE: content,
        MANIFEST: json.dumps(manifest).encode() + b"\n",
        FIRST_LOOK: _sheet(pixels[0].numpy(), maps, codes),
        STILL: _still(pixels[0].numpy(), maps),
    }


def _limit(run: Run, held_out: ImageSet) -> float:
    """The penalty that the right class exceeds in but 5 of a hundred held-out digits."""
    with torch.inference_mode():
        penalties = run.model(run.pipeline.evaluation(held_out.images))
    right = penalties.gather(1, held_out.labels.unsqueeze(1))
    return round(float(np.percentile(right.numpy(), _ACCEPTED)), 2)


def _shown(pixels: np.ndarray) -> np.ndarray:
    """The network's input as an image in [0, 1]."""
    low, high = pixels.min(), pixels.max()
    shown: np.ndarray = (pixels - low) / (high - low)
    return shown


def _sheet(pixels: np.ndarray, maps: dict[str, Any], codes: np.ndarray) -> bytes:
    """Input, maps and bitmaps, a layer a row, one pixel for a unit, on the page's signed scale."""
    rows = [natural(_shown(pixels))]
    for name in _SQUASHED:
        rows.append(np.hstack([signed(plane[None], AMPLITUDE) for plane in maps[name]]))
    rows.append(np.hstack([signed(code, AMPLITUDE) for code in codes]))
    padded = [np.pad(row, ((0, 0), (0, _SHEET_WIDTH - row.shape[1]), (0, 0))) for row in rows]
    return sheets.to_webp(np.vstack(padded), (1, 1), quality=100)


def _still(pixels: np.ndarray, maps: dict[str, Any]) -> bytes:
    """The picture for readers without scripts, whose page is always light."""
    layers = {**maps, "tanh6": maps["tanh6"].reshape(1, *_BITMAP)}
    figure = feature_maps(
        _shown(pixels),
        [LayerMaps(name, layer) for name, layer in layers.items()],
        caption="A four drawn on the page and what every layer of the network makes of it.",
        alt="A drawn four, the feature maps of five layers, the bitmap of a four, ten distances.",
    )
    return to_webp(figure.render())
