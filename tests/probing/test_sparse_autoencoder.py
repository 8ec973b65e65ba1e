"""Oracle: the equations written out in float64, planted dictionaries, counts made by loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from internals.errors import ProbingError
from internals.probing.principal_components import quality
from internals.probing.sparse_autoencoder import (
    AutoencoderRecipe,
    SparseAutoencoder,
    fit_sparse_autoencoder,
    penalised_loss,
    start_again,
)

PLANTED = 24


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(n: int, inputs: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of two of 24 random directions, more than there are inputs; and the directions."""
    directions = torch.randn(PLANTED, inputs, generator=seeded(7))
    directions /= directions.norm(dim=1, keepdim=True)
    amounts = 1 + torch.rand(n, PLANTED, generator=seeded(seed))
    order = torch.rand(n, PLANTED, generator=seeded(seed + 1)).argsort(dim=1)
    return (amounts * (order < 2)) @ directions, directions


def small(keep: int | None = None) -> SparseAutoencoder:
    found = SparseAutoencoder(5, 11, keep=keep, generator=seeded(0)).double()
    with torch.no_grad():
        found.encoder += 0.3 * torch.randn(11, 5, generator=seeded(1))
        found.encoder_bias += 0.3 * torch.randn(11, generator=seeded(2))
        found.decoder_bias += torch.randn(5, generator=seeded(3))
    return found


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.none(), st.integers(1, 11)), st.integers(0, 99))
def test_the_code_is_the_equation(keep: int | None, seed: int) -> None:
    found, x = small(keep), torch.randn(4, 5, generator=seeded(seed), dtype=torch.float64)
    w_e, b_e, w_d, b_d = (
        p.detach().numpy()
        for p in (found.encoder, found.encoder_bias, found.decoder, found.decoder_bias)
    )
    for row, code, rebuilt in zip(x.numpy(), found.encode(x), found(x), strict=True):
        want = np.maximum(w_e @ (row - b_d) + b_e, 0)
        for feature in np.argsort(want)[: 0 if keep is None else 11 - keep]:
            want[feature] = 0
        np.testing.assert_allclose(code.detach(), want, atol=1e-12)
        np.testing.assert_allclose(rebuilt.detach(), w_d @ want + b_d, atol=1e-12)


def test_the_gradient_of_the_loss_is_the_derivative_by_hand() -> None:
    found, x = small(), torch.randn(6, 5, generator=seeded(4), dtype=torch.float64)
    penalised_loss(found, x, 0.3).backward()
    w_e, b_e, w_d, b_d = (
        p.detach() for p in (found.encoder, found.encoder_bias, found.decoder, found.decoder_bias)
    )
    sums = (x - b_d) @ w_e.T + b_e
    codes, error = sums.clamp_min(0), sums.clamp_min(0) @ w_d.T + b_d - x
    by_sums = (2 * error @ w_d + 0.3) * (sums > 0) / 6
    for parameter, want in (
        (found.decoder, 2 * error.T @ codes / 6),
        (found.encoder, by_sums.T @ (x - b_d)),
        (found.encoder_bias, by_sums.sum(dim=0)),
        (found.decoder_bias, 2 * error.sum(dim=0) / 6 - by_sums.sum(dim=0) @ w_e),
    ):
        torch.testing.assert_close(parameter.grad, want)
    value = (error**2).sum(dim=1).mean() + 0.3 * codes.sum() / 6
    torch.testing.assert_close(penalised_loss(found, x, 0.3), value)


def test_columns_keep_length_one_at_every_step(monkeypatch) -> None:
    lengths, radial = [], []
    restore = SparseAutoencoder.restore_lengths
    drop = SparseAutoencoder.drop_radial_gradient

    def restoring(self: SparseAutoencoder) -> None:
        restore(self)
        lengths.append(self.decoder.detach().norm(dim=0))

    def dropping(self: SparseAutoencoder) -> None:
        drop(self)
        gradient = self.decoder.grad
        radial.append((gradient * self.decoder).sum(dim=0).abs().max() / gradient.abs().max())

    monkeypatch.setattr(SparseAutoencoder, "restore_lengths", restoring)
    monkeypatch.setattr(SparseAutoencoder, "drop_radial_gradient", dropping)
    found = fit_sparse_autoencoder(
        planted(200)[0], AutoencoderRecipe(30, sparsity=0.1, steps=12, batch_size=32)
    )
    assert len(lengths) == len(radial) == 12
    torch.testing.assert_close(torch.stack(lengths), torch.ones(12, 30))
    assert max(radial).item() < 1e-6
    torch.testing.assert_close(found.decoder.norm(dim=0), torch.ones(30))


@pytest.mark.parametrize("rule", [{"keep": 2}, {"sparsity": 0.15}], ids=str)
def test_planted_directions_are_recovered(rule) -> None:
    """More directions than inputs: nothing linear could tell them apart."""
    x, directions = planted(4000)
    recipe = AutoencoderRecipe(32, **rule, steps=1500, batch_size=128, learning_rate=5e-3)
    found = fit_sparse_autoencoder(x, recipe)
    likeness = (directions @ found.decoder).amax(dim=1)
    assert (likeness > 0.95).double().mean() >= 0.9
    assert quality(found, planted(500, seed=5)[0]).explained > 0.9


def test_the_same_seed_gives_the_same_numbers_and_draws_on_nobody_elses() -> None:
    x, recipe = planted(300)[0], AutoencoderRecipe(30, keep=3, steps=20, batch_size=32)
    before = torch.random.get_rng_state()
    one, two, other = (fit_sparse_autoencoder(x, recipe, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
    assert not torch.equal(one.decoder, other.decoder)
    assert not one.training and not any(p.requires_grad for p in one.parameters())


@pytest.mark.parametrize("rule", [{"keep": 3}, {"sparsity": 0.1}], ids=str)
def test_the_unit_of_the_activations_does_not_matter(rule) -> None:
    x, recipe = planted(300)[0], AutoencoderRecipe(30, **rule, steps=20, batch_size=32)
    one, scaled = fit_sparse_autoencoder(x, recipe), fit_sparse_autoencoder(1024 * x, recipe)
    torch.testing.assert_close(scaled.decoder, one.decoder)
    torch.testing.assert_close(scaled.encode(1024 * x), 1024 * one.encode(x), rtol=1e-3, atol=0.05)


def test_silent_features_are_pointed_at_what_is_rebuilt_badly() -> None:
    x = 0.01 * planted(300)[0]
    x[:5] *= 1000  # of all rows, these are rebuilt worst
    found = SparseAutoencoder(16, 30, generator=seeded(0))
    optimizer = torch.optim.Adam(found.parameters())
    penalised_loss(found, x, 0.1).backward()
    optimizer.step()
    with torch.no_grad():
        found.encoder_bias[10:] = -1e6
    before = {name: value.clone() for name, value in found.state_dict().items()}
    silent_before = quality(found, x).dead
    start_again(found, optimizer, x, seeded(1))
    assert silent_before >= 20 and quality(found, x).dead == 0
    rows = torch.nn.functional.normalize(x[:5] - found.decoder_bias, dim=1)
    torch.testing.assert_close((rows @ found.decoder[:, 10:]).amax(dim=0), torch.ones(20))
    length = 0.2 * before["encoder"][:10].norm(dim=1).mean()
    torch.testing.assert_close(found.encoder[10:], length * found.decoder[:, 10:].T)
    torch.testing.assert_close(found.encoder[:10], before["encoder"][:10])
    torch.testing.assert_close(found.decoder[:, :10], before["decoder"][:, :10])
    for moment in ("exp_avg", "exp_avg_sq"):
        kept = optimizer.state[found.encoder][moment]
        assert (kept[10:] == 0).all() and (kept[:10] != 0).any()
        assert (optimizer.state[found.decoder][moment][:, 10:] == 0).all()


def test_quality_counts_as_loops_do() -> None:
    found, x = small(3), torch.randn(40, 5, generator=seeded(6), dtype=torch.float64)
    seen, codes = quality(found, x), found.encode(x).detach()
    active = [sum(1 for value in row if value != 0) for row in codes.tolist()]
    assert seen.active == pytest.approx(np.mean(active))
    assert seen.dead == sum(1 for f in range(11) if not any(codes[:, f].tolist()))
    lost = sum(float(((a - b) ** 2).sum()) for a, b in zip(found(x).detach(), x, strict=True))
    total = sum(float(((a - x.mean(dim=0)) ** 2).sum()) for a in x)
    assert seen.explained == pytest.approx(1 - lost / total)
    assert seen.share_active == pytest.approx(seen.active / 11)


def test_a_recipe_says_when_silent_features_are_looked_for() -> None:
    recipe = AutoencoderRecipe(4, keep=1, steps=90, resamplings=3)
    assert [s for s in range(90) if recipe.resampled_before(s)] == [20, 40, 60]
    assert [recipe.rate(s) / recipe.learning_rate for s in (0, 59, 75)] == [1, 1, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 0}, "features=0; give 1 or more"),
        ({"features": 4, "steps": 0}, "steps=0; give 1 or more"),
        ({"features": 4, "sparsity": -1.0}, "sparsity=-1.0; give 0 or more"),
        ({"features": 4, "learning_rate": 0.0}, "learning_rate=0.0; give more than 0"),
        ({"features": 4, "keep": 2, "sparsity": 1.0}, "one of them makes it sparse"),
    ],
)
def test_recipes_out_of_range_are_refused(arguments, message: str) -> None:
    with pytest.raises(ProbingError, match=message):
        AutoencoderRecipe(**arguments)


def test_sizes_and_activations_that_do_not_fit_are_refused(unchecked_shapes) -> None:
    with pytest.raises(ProbingError, match="keep=12; give a number from 1 to the 11 features"):
        SparseAutoencoder(5, 11, keep=12)
    with pytest.raises(ProbingError, match="0 features of 5 inputs"):
        SparseAutoencoder(5, 0)
    with pytest.raises(ProbingError, match="all 9 activations are alike"):
        fit_sparse_autoencoder(torch.ones(9, 3), AutoencoderRecipe(6, keep=2))
