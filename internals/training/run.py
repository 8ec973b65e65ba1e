"""A trained network: found on disk if these very weights were made before, trained if not."""

import os
import shutil
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from internals.data.image_set import ImageSet, Splits
from internals.data.normalization import InputMap
from internals.data.pipeline import Pipeline
from internals.environment import keep_freed_memory, note_weights
from internals.errors import CheckpointError, TrainingError
from internals.files import sweep_drafts, writing
from internals.models.lookup import build
from internals.models.weights_file import hash_tensors, pack_tensors, unpack_tensors
from internals.training.checkpoint import (
    UNREADABLE,
    check_record,
    load_tensors,
    load_weights,
    one_line,
    save_tensors,
    save_weights,
)
from internals.training.distributed import Precision, on_rank_zero
from internals.training.evaluate import Epoch, History, Metrics, evaluate
from internals.training.launch import make_fabric
from internals.training.loop import ReplayedSteps, RunFolder, Trained, replay, train
from internals.training.losses import Loss
from internals.training.provenance import (
    Compute,
    Provenance,
    all_weights_folders,
    code_key,
    fetched_folders,
    hash_images,
    weights_folder,
    weights_folders,
)
from internals.training.recipe import Recipe, plain
from internals.training.resumption import check_statistics, load_state

WEIGHTS, TEST = "weights.safetensors", "test.safetensors"


@dataclass(frozen=True)
class Run:
    """A network with its weights, how they were made, and what they score on the test images.

    Args:
        model: The network, on the CPU, in evaluation mode.
        recipe: How it was trained.
        pipeline: What makes inputs of images, with the statistics of the training images.
        history: What happened in each epoch.
        test: The scores on the test images, looked at once.
        provenance: All that went into the weights.
        class_names: The classes, in the order of the outputs.
        folder: Where the weights lie.
    """

    model: nn.Module
    recipe: Recipe
    pipeline: Pipeline
    history: History
    test: Metrics
    provenance: Provenance
    class_names: tuple[str, ...]
    folder: Path

    @property
    def loss(self) -> Loss:
        """What the network was trained to make small, and how its outputs are read."""
        return self.recipe.loss

    @property
    def normalization(self) -> InputMap:
        """The map from pixels to the network's input."""
        return self.pipeline.normalization

    def snapshot(self, epoch: int) -> nn.Module:
        """The network as it was after `epoch`, one of `recipe.snapshots`.

        Raises:
            CheckpointError: When that epoch was not kept, or its file is damaged.
        """
        path = RunFolder(self.folder).snapshot(epoch)
        if not path.exists():
            raise CheckpointError(
                f"{path} does not exist; name an epoch of the recipe's snapshots, "
                f"{self.recipe.snapshots}, or delete {self.folder} to train again"
            )
        model = build(self.recipe.network, **dict(self.recipe.arguments))
        load_weights(path, model, f"delete {self.folder} to train again")
        return model.eval()


def trained(
    recipe: Recipe,
    splits: Splits,
    *,
    seed: int = 0,
    folder: Path | None = None,
    fabric: Fabric | None = None,
) -> Run:
    """The network of `recipe` trained on `splits`; a second call reads the weights and is quick.

    Weights, input statistics and scores are kept in `build/weights/<network>-<key>-<compute>`,
    where the key covers the network's code, the recipe, the training code, the data and the seed,
    and `Compute` is device, precision and number of threads, which decide the last bits. A
    finished run is taken wherever it was computed, this machine's first. A run that was stopped
    goes on from its last checkpoint, with as many threads as it began with.

    Args:
        recipe: How to train.
        splits: Training, validation and test images.
        seed: Decides the first weights, the order of the images and their augmentation.
        folder: Another place for the files.
        fabric: On which devices, by default the fastest one; of several processes (`on_devices`)
            each calls this.

    Raises:
        TrainingError: When training diverges or cannot start.
        CheckpointError: When files are damaged, or `folder` holds another run.
        OutputError: When files cannot be written.
    """
    if not -(2**63) <= seed < 2**64:
        raise TrainingError(f"seed={seed} is no seed of torch's; use 0 to {2**64 - 1}")
    fabric = fabric or make_fabric()
    place = folder or _finished_folder(recipe, splits, seed, Compute.of(fabric))
    if place is None or not (place / WEIGHTS).exists():
        place = place or _unfinished_folder(recipe, splits, seed, fabric)
        _train(recipe, splits, seed, place, fabric)
    run = _read(recipe, splits, seed, place)
    note_weights(place)
    return run


def fetched(recipe: Recipe, splits: Splits, seed: int = 0) -> Run | None:
    """The network of `recipe` that was fetched, whatever copy of the data set it was trained on.

    It is for looking into: what it scored on the test images is what its maker's copy gave.

    Args:
        recipe: How it was trained.
        splits: The data set, with its classes.
        seed: That of the run.

    Returns:
        The run; None where none was fetched of this recipe, seed and data set.

    Raises:
        CheckpointError: When files are damaged.
    """
    for place in fetched_folders(recipe.network):
        path = place / WEIGHTS
        if not path.exists():
            continue
        provenance = _provenance(path, load_tensors(path)[1])
        made = (provenance.recipe, provenance.seed, provenance.data)
        if made == (plain(recipe), seed, splits.train.name):
            return _read(recipe, splits, seed, place, same_images=False)
    return None


def adopt(recipe: Recipe, splits: Splits, seed: int = 0) -> Path:
    """Give weights that were trained by earlier code the name that they have by today's.

    The first steps of the run, and of the epoch after its last snapshot where that state was kept,
    are run again and compared with what was recorded at the time: the order of the images, every
    loss and the weights, bit for bit. If all agree the folder is re-named.

    Args:
        recipe: How they were trained.
        splits: Training, validation and test images.
        seed: That of the run.

    Returns:
        The folder under its new name, or the one that had it already.

    Raises:
        CheckpointError: When there are no such weights, nothing was recorded, or something
            differs; the message names the first difference.
    """
    here = Compute.of(make_fabric())
    if (place := _finished_folder(recipe, splits, seed, here)) is not None:
        return place
    refusals = []
    for candidate in all_weights_folders(recipe.network):
        if not (candidate / WEIGHTS).exists():
            continue
        try:
            _, facts = load_tensors(candidate / WEIGHTS)
            provenance = _provenance(candidate / WEIGHTS, facts)
            _check_same_run(candidate / WEIGHTS, provenance, recipe, splits, seed)
        except CheckpointError:
            continue
        if difference := _difference(candidate, facts, provenance, recipe, splits, seed):
            refusals.append(f"{candidate}: {difference}")
            continue
        return _rename(candidate, provenance, recipe, splits, seed)
    if refusals:
        raise CheckpointError(f"cannot adopt {'; '.join(refusals)}; train again")
    raise CheckpointError(
        f"no finished weights of {recipe.network!r} by this recipe, data and seed are kept; "
        "train it without --adopt"
    )


def _finished_folder(recipe: Recipe, splits: Splits, seed: int, here: Compute) -> Path | None:
    """The folder of a finished run, one computed as `here` first; None where there is none."""
    folders = [f for f in weights_folders(recipe, splits, seed) if (f / WEIGHTS).exists()]
    own = weights_folder(recipe, splits, seed, here)
    return own if own in folders else next(iter(folders), None)


def _unfinished_folder(recipe: Recipe, splits: Splits, seed: int, fabric: Fabric) -> Path:
    """Where to train: where a run of the same device and precision was stopped, else anew."""
    own = Compute.of(fabric)
    place = weights_folder(recipe, splits, seed, own)
    if RunFolder(place).checkpoint.exists():
        return place
    for folder in weights_folders(recipe, splits, seed):
        begun = Compute.parse(folder.name)
        if begun and own.is_but_for_threads(begun) and RunFolder(folder).checkpoint.exists():
            return folder
    return place


def _train(recipe: Recipe, splits: Splits, seed: int, place: Path, fabric: Fabric) -> None:
    """Train, test, and write all that a later call needs; the weights last but one."""
    code = code_key(recipe)  # as it is before the work: it may be edited meanwhile
    folder = RunFolder(place)
    on_rank_zero(fabric, lambda: _prepare(place))  # refused before the work, not after an epoch
    keep_freed_memory()
    torch.manual_seed(seed)
    model = build(recipe.network, **dict(recipe.arguments))
    if folder.checkpoint.exists():
        _take_threads(load_state(folder.checkpoint, model, recipe, splits.train), place, fabric)
    result = train(
        model, recipe, splits.train, splits.validation, fabric,
        seed=seed, folder=folder, compute=str(Compute.of(fabric)),
    )  # fmt: skip

    def finish() -> None:
        test = _test(model, recipe, splits.test, result.pipeline, fabric)
        model.to("cpu")
        provenance = _account(recipe, splits, seed, code, model, result, test, fabric)
        _write_test(place / TEST, test, splits.test)
        save_weights(
            place / WEIGHTS,
            model,
            provenance=provenance.to_dict(),
            history=result.history.to_rows(),
            statistics=pack_tensors(result.pipeline.state()),
            replays=[asdict(steps) for steps in result.replays],
        )
        # Last: stopped before this line, the next run ends in the same weights.
        folder.checkpoint.unlink(missing_ok=True)

    on_rank_zero(fabric, finish)
    model.to("cpu")


def _take_threads(state: dict[str, Any], place: Path, fabric: Fabric) -> None:
    """Compute with as many threads as an unfinished run began with."""
    begun, own = Compute.parse(f"-{state['compute']}"), Compute.of(fabric)
    if begun is None or begun == own or not own.is_but_for_threads(begun):
        return  # the loop says what differs
    if fabric.is_global_zero:
        print(f"going on with {begun.threads} threads, as the run in {place} began")
    torch.set_num_threads(begun.threads)


def _prepare(place: Path) -> None:
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)


def _read(
    recipe: Recipe, splits: Splits, seed: int, place: Path, *, same_images: bool = True
) -> Run:
    """The run whose weights are in `place`, as if it had just been made.

    Unless `same_images`, they may be those of another copy of the data set.
    """
    path = place / WEIGHTS
    model = build(recipe.network, **dict(recipe.arguments))
    facts = load_weights(path, model)
    provenance = _provenance(path, facts)
    if same_images:
        _check_same_run(path, provenance, recipe, splits, seed)
    # What a run that was stopped at its very end left behind.
    for leftover in (RunFolder(place).checkpoint, path, place / TEST):
        sweep_drafts(leftover)
    with suppress(OSError):
        RunFolder(place).checkpoint.unlink(missing_ok=True)
    history, pipeline = _read_facts(path, facts, recipe, splits)
    test = _read_test(place / TEST, splits.test, same_images=same_images)
    if test is None:  # other test images than those of the run that made the weights, or no file
        fabric = make_fabric(precision=cast(Precision, provenance.precision))
        test = _test(model, recipe, splits.test, pipeline, fabric)
        if not (place / TEST).exists():
            _write_test(place / TEST, test, splits.test)
    classes = splits.train.class_names
    return Run(model.eval(), recipe, pipeline, history, test, provenance, classes, place)


def _read_facts(
    path: Path, facts: dict[str, Any], recipe: Recipe, splits: Splits
) -> tuple[History, Pipeline]:
    """The history and the pipeline that are kept with weights, once they are known to be some."""
    try:
        for row in facts["history"]:
            check_record(Epoch, row)
        history = History.from_rows(facts["history"])
        statistics = unpack_tensors(facts["statistics"])
        check_statistics(statistics, recipe, splits.train)
    except (CheckpointError, *UNREADABLE) as error:
        raise CheckpointError(
            f"{path} is odd ({one_line(error)}); delete it to train again"
        ) from error
    return history, Pipeline.from_state(recipe.pipeline_name, recipe.size, statistics)


def _test(
    model: nn.Module, recipe: Recipe, images: ImageSet, pipeline: Pipeline, fabric: Fabric
) -> Metrics:
    precision = fabric.autocast() if recipe.test_precision == "as trained" else nullcontext()
    # As in training, so that scores made again have the same last bits.
    model.to(fabric.device).to(memory_format=torch.channels_last)
    with precision:
        metrics = evaluate(
            model, recipe.loss, images.head(recipe.most_tested), pipeline, crops=recipe.crops
        )
    model.to("cpu").to(memory_format=torch.contiguous_format)
    return metrics


def _write_test(path: Path, test: Metrics, images: ImageSet) -> None:
    arrays = {"predicted": test.predicted, "confidence": test.confidence}
    save_tensors(
        path,
        {name: torch.from_numpy(array) for name, array in arrays.items()},
        images=hash_images(images),
        numbers={"loss": test.loss, "top1": test.top1, "top_k": test.top_k, "k": test.k},
        confusion=test.confusion.tolist(),
    )


def _read_test(path: Path, images: ImageSet, *, same_images: bool) -> Metrics | None:
    """The kept scores; None where they are of other images, or there are none."""
    if not path.exists():
        return None
    tensors, facts = load_tensors(path)
    if same_images and facts.get("images") != hash_images(images):
        return None
    classes = len(images.class_names)
    try:
        confusion = np.array(facts["confusion"], np.int64).reshape(classes, classes)
        predicted = tensors["predicted"].clone().numpy()  # not a view of the file
        confidence = tensors["confidence"].clone().numpy()
        if not predicted.shape == confidence.shape == (confusion.sum(),):
            raise ValueError("its answers are not those of its confusions")
        loss, top1, top_k, k = (facts["numbers"][name] for name in ("loss", "top1", "top_k", "k"))
        return Metrics(
            float(loss), float(top1), float(top_k), int(k), confusion, predicted, confidence
        )
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path} is odd ({one_line(error)}); delete it and it is made again"
        ) from error


def _account(
    recipe: Recipe,
    splits: Splits,
    seed: int,
    code: str,
    model: nn.Module,
    result: Trained,
    test: Metrics,
    fabric: Fabric,
) -> Provenance:
    history = result.history
    best = history.epochs[-1] if recipe.selection == "last" else history.best
    return Provenance.now(
        network=recipe.network,
        recipe=plain(recipe),
        seed=seed,
        data=splits.train.name,
        data_fingerprint=splits.train.fingerprint,
        images=[hash_images(splits.train), hash_images(splits.validation)],
        code=code,
        device=str(fabric.device),
        devices=fabric.world_size,
        precision=str(fabric.strategy.precision.precision),
        threads=torch.get_num_threads(),
        epochs=len(history.epochs),
        best_epoch=best.number,
        seconds=round(sum(history.column("seconds")), 1),
        images_per_second=round(median(history.column("images_per_second")), 1),
        metrics=test.numbers(),
        weights_sha256=hash_tensors(model.state_dict()),
    )


def _provenance(path: Path, facts: dict[str, Any]) -> Provenance:
    try:
        return Provenance.from_dict(facts.get("provenance"))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}, once it is deleted") from error


def _check_same_run(
    path: Path, provenance: Provenance, recipe: Recipe, splits: Splits, seed: int
) -> None:
    """A folder named by hand may hold the weights of another run: refuse them."""
    images = [hash_images(splits.train), hash_images(splits.validation)]
    same = (provenance.seed, provenance.images) == (seed, images)
    if not same or provenance.recipe != plain(recipe):
        raise CheckpointError(
            f"{path} was trained with another recipe, seed or data; name another folder"
        )


def _difference(
    folder: Path,
    facts: dict[str, Any],
    provenance: Provenance,
    recipe: Recipe,
    splits: Splits,
    seed: int,
) -> str:
    """The first way in which today's code departs from what was recorded; "" where in none."""
    try:
        for row in facts["replays"]:
            check_record(ReplayedSteps, row)
        recorded = [ReplayedSteps.from_row(row) for row in facts["replays"]]
    except UNREADABLE:
        recorded = []
    if not recorded:
        return "nothing was recorded that could be replayed"
    if (before := provenance.precision) != (now := _precision()):
        return f"it was trained in {before}, and this machine computes in {now}"
    for steps in recorded:
        checkpoint = None if steps.epoch == 1 else RunFolder(folder).replay
        if checkpoint is not None and not checkpoint.exists():
            continue  # no longer kept
        torch.manual_seed(seed)
        model = build(recipe.network, **dict(recipe.arguments))
        fabric = make_fabric(threads=provenance.threads)
        try:
            if checkpoint is not None:
                remedy = "delete it to compare the first steps alone"
                load_state(checkpoint, model, recipe, splits.train, remedy)
            again = replay(model, recipe, splits.train, fabric, seed=seed, checkpoint=checkpoint)
        except CheckpointError as error:
            return str(error)
        if difference := _first_difference(steps, again):
            return difference
    return ""


def _first_difference(was: ReplayedSteps, now: ReplayedSteps) -> str:
    where = f"epoch {was.epoch}"
    if now.order != was.order:
        return f"the order of the images in {where} differs"
    if len(now.losses) != len(was.losses):
        return f"{len(was.losses)} steps of {where} were recorded, and {len(now.losses)} are taken"
    for number, (loss, before) in enumerate(zip(now.losses, was.losses, strict=True), 1):
        if loss != before:
            return f"the loss at step {number} of {where} is {loss!r} and was {before!r}"
    if now.weights != was.weights:
        return f"the weights after step {len(was.losses)} of {where} differ"
    return ""


def _precision() -> str:
    return str(make_fabric().strategy.precision.precision)


def _rename(
    folder: Path, provenance: Provenance, recipe: Recipe, splits: Splits, seed: int
) -> Path:
    """The folder under the name that its weights have by today's code."""
    place = weights_folder(recipe, splits, seed, provenance.compute)
    with writing(place):
        shutil.rmtree(place, ignore_errors=True)  # an unfinished run of the same weights
        os.replace(folder, place)
    return place
