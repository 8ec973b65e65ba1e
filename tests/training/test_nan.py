"""Oracle: the step at which the numbers were made to break."""

from dataclasses import replace

import pytest
import torch

from internals.errors import TrainingError
from internals.models.lenet5 import LeNet5
from internals.training.checkpoint import load_checkpoint
from internals.training.loop import train
from internals.training.losses import MapLoss


def _train(few, recipe, fabric, path):
    model = LeNet5()
    return train(model, recipe, few.train, few.validation, fabric, seed=1, checkpoint=path)


def _break_step(monkeypatch, wanted: int, value: float) -> None:
    """Training loss number `wanted`, counted from 1 over the whole run, becomes `value`."""
    count = iter(range(1, 1000))
    right = MapLoss.forward

    def forward(self, penalties, labels):
        loss = right(self, penalties, labels)
        return loss * value if torch.is_grad_enabled() and next(count) == wanted else loss

    monkeypatch.setattr(MapLoss, "forward", forward)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_names_step_epoch_and_last_good_checkpoint(
    few, fabric, tiny_recipe, tmp_path, monkeypatch, value
):
    path = tmp_path / "checkpoint.pt"
    _break_step(monkeypatch, 3 + 2, value)  # three steps an epoch: step 2 of epoch 2
    with pytest.raises(TrainingError) as caught:
        _train(few, tiny_recipe, fabric, path)
    assert str(caught.value) == (
        f"the loss became {value} at step 2 of epoch 2; lower learning_rate=0.002; "
        f"the last good checkpoint is {path} (epoch 1)"
    )
    kept = load_checkpoint(path)
    assert len(kept["history"]) == 1
    assert all(bool(t.isfinite().all()) for t in kept["model"].values())


def test_says_so_when_there_is_no_checkpoint_yet(few, fabric, tiny_recipe, tmp_path, monkeypatch):
    _break_step(monkeypatch, 1, float("nan"))
    with pytest.raises(TrainingError, match=r"at step 1 of epoch 1; .*no epoch was finished"):
        _train(few, tiny_recipe, fabric, tmp_path / "checkpoint.pt")
    assert list(tmp_path.glob("*.pt")) == []


def test_weights_spoilt_by_the_very_last_step_are_not_kept(few, fabric, tiny_recipe, tmp_path):
    """No later training loss would tell: only the validation shows it."""
    recipe = replace(
        tiny_recipe, epochs=1, batch_size=96, warm_up=0.0, learning_rate=float("inf"),
        schedule="constant", optimizer="sgd",
    )  # fmt: skip
    with pytest.raises(TrainingError, match="epoch 1"):
        _train(few, recipe, fabric, tmp_path / "checkpoint.pt")
    assert list(tmp_path.glob("*.pt")) == []
