"""Oracle: the equations written out in float64, planted dictionaries, counts made by loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from internals.errors import ProbingError
from internals.probing import (
    AutoencoderRecipe,
    SparseAutoencoder,
    code_quality,
    fit_sparse_autoencoder,
    penalised_loss,
    resample_dead_features,
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


def small(top_k: int | None = None) -> SparseAutoencoder:
    autoencoder = SparseAutoencoder(5, 11, top_k=top_k, generator=seeded(0)).double()
    with torch.no_grad():
        autoencoder.encoder += 0.3 * torch.randn(11, 5, generator=seeded(1))
        autoencoder.encoder_bias += 0.3 * torch.randn(11, generator=seeded(2))
        autoencoder.decoder_bias += torch.randn(5, generator=seeded(3))
    return autoencoder


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.none(), st.integers(1, 11)), st.integers(0, 99))
def test_the_code_is_the_equation(top_k: int | None, seed: int) -> None:
    autoencoder, x = small(top_k), torch.randn(4, 5, generator=seeded(seed), dtype=torch.float64)
    w_e, b_e, w_d, b_d = (
        p.detach().numpy()
        for p in (
            autoencoder.encoder,
            autoencoder.encoder_bias,
            autoencoder.decoder,
            autoencoder.decoder_bias,
        )
    )
    for row, code, rebuilt in zip(x.numpy(), autoencoder.encode(x), autoencoder(x), strict=True):
        expected = np.maximum(w_e @ (row - b_d) + b_e, 0)
        for feature in np.argsort(expected)[: 0 if top_k is None else 11 - top_k]:
            expected[feature] = 0
        np.testing.assert_allclose(code.detach(), expected, atol=1e-12)
        np.testing.assert_allclose(rebuilt.detach(), w_d @ expected + b_d, atol=1e-12)


def test_the_gradient_of_the_loss_is_the_derivative_by_hand() -> None:
    autoencoder, x = small(), torch.randn(6, 5, generator=seeded(4), dtype=torch.float64)
    penalised_loss(autoencoder, x, 0.3).backward()
    w_e, b_e, w_d, b_d = (
        p.detach()
        for p in (
            autoencoder.encoder,
            autoencoder.encoder_bias,
            autoencoder.decoder,
            autoencoder.decoder_bias,
        )
    )
    sums = (x - b_d) @ w_e.T + b_e
    codes, error = sums.clamp_min(0), sums.clamp_min(0) @ w_d.T + b_d - x
    by_sums = (2 * error @ w_d + 0.3) * (sums > 0) / 6
    for parameter, expected in (
        (autoencoder.decoder, 2 * error.T @ codes / 6),
        (autoencoder.encoder, by_sums.T @ (x - b_d)),
        (autoencoder.encoder_bias, by_sums.sum(dim=0)),
        (autoencoder.decoder_bias, 2 * error.sum(dim=0) / 6 - by_sums.sum(dim=0) @ w_e),
    ):
        torch.testing.assert_close(parameter.grad, expected)
    value = (error**2).sum(dim=1).mean() + 0.3 * codes.sum() / 6
    torch.testing.assert_close(penalised_loss(autoencoder, x, 0.3), value)


def test_columns_keep_length_one_at_every_step(monkeypatch) -> None:
    lengths, radial = [], []
    restore = SparseAutoencoder.normalize_decoder
    drop = SparseAutoencoder.remove_parallel_gradient

    def restoring(self: SparseAutoencoder) -> None:
        restore(self)
        lengths.append(self.decoder.detach().norm(dim=0))

    def dropping(self: SparseAutoencoder) -> None:
        drop(self)
        gradient = self.decoder.grad
        radial.append((gradient * self.decoder).sum(dim=0).abs().max() / gradient.abs().max())

    monkeypatch.setattr(SparseAutoencoder, "normalize_decoder", restoring)
    monkeypatch.setattr(SparseAutoencoder, "remove_parallel_gradient", dropping)
    autoencoder = fit_sparse_autoencoder(
        planted(200)[0], AutoencoderRecipe(30, l1_penalty=0.1, steps=12, batch_size=32)
    )
    assert len(lengths) == len(radial) == 12
    torch.testing.assert_close(torch.stack(lengths), torch.ones(12, 30))
    assert max(radial).item() < 1e-6
    torch.testing.assert_close(autoencoder.decoder.norm(dim=0), torch.ones(30))


@pytest.mark.slow
@pytest.mark.parametrize("rule", [{"top_k": 2}, {"l1_penalty": 0.15}], ids=str)
def test_planted_directions_are_recovered(rule) -> None:
    """More directions than inputs: nothing linear could tell them apart."""
    x, directions = planted(4000)
    recipe = AutoencoderRecipe(32, **rule, steps=1500, batch_size=128, learning_rate=5e-3)
    autoencoder = fit_sparse_autoencoder(x, recipe)
    likeness = (directions @ autoencoder.decoder).amax(dim=1)
    assert (likeness > 0.95).double().mean() >= 0.9
    assert code_quality(autoencoder, planted(500, seed=5)[0]).explained_variance > 0.9


def test_the_same_seed_gives_the_same_numbers_and_leaves_the_global_state_alone() -> None:
    x, recipe = planted(300)[0], AutoencoderRecipe(30, top_k=3, steps=20, batch_size=32)
    before = torch.random.get_rng_state()
    first, second, other_seed = (fit_sparse_autoencoder(x, recipe, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.decoder, other_seed.decoder)
    assert not first.training and not any(p.requires_grad for p in first.parameters())


@pytest.mark.parametrize("rule", [{"top_k": 3}, {"l1_penalty": 0.1}], ids=str)
def test_the_unit_of_the_activations_does_not_matter(rule) -> None:
    x, recipe = planted(300)[0], AutoencoderRecipe(30, **rule, steps=20, batch_size=32)
    plain, scaled = fit_sparse_autoencoder(x, recipe), fit_sparse_autoencoder(1024 * x, recipe)
    torch.testing.assert_close(scaled.decoder, plain.decoder)
    torch.testing.assert_close(
        scaled.encode(1024 * x), 1024 * plain.encode(x), rtol=1e-3, atol=0.05
    )


def test_dead_features_are_pointed_at_what_is_reconstructed_badly() -> None:
    x = 0.01 * planted(300)[0]
    x[:5] *= 1000  # of all rows, these are reconstructed worst
    autoencoder = SparseAutoencoder(16, 30, generator=seeded(0))
    optimizer = torch.optim.Adam(autoencoder.parameters())
    penalised_loss(autoencoder, x, 0.1).backward()
    optimizer.step()
    with torch.no_grad():
        autoencoder.encoder_bias[10:] = -1e6
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    dead_before = code_quality(autoencoder, x).dead
    resample_dead_features(autoencoder, optimizer, x, seeded(1))
    assert dead_before >= 20 and code_quality(autoencoder, x).dead == 0
    rows = torch.nn.functional.normalize(x[:5] - autoencoder.decoder_bias, dim=1)
    torch.testing.assert_close((rows @ autoencoder.decoder[:, 10:]).amax(dim=0), torch.ones(20))
    length = 0.2 * before["encoder"][:10].norm(dim=1).mean()
    torch.testing.assert_close(autoencoder.encoder[10:], length * autoencoder.decoder[:, 10:].T)
    torch.testing.assert_close(autoencoder.encoder[:10], before["encoder"][:10])
    torch.testing.assert_close(autoencoder.decoder[:, :10], before["decoder"][:, :10])
    for moment in ("exp_avg", "exp_avg_sq"):
        moments = optimizer.state[autoencoder.encoder][moment]
        assert (moments[10:] == 0).all() and (moments[:10] != 0).any()
        assert (optimizer.state[autoencoder.decoder][moment][:, 10:] == 0).all()


def test_quality_counts_as_loops_do() -> None:
    autoencoder, x = small(3), torch.randn(40, 5, generator=seeded(6), dtype=torch.float64)
    autoencoder.encoder_bias.data[:2] = -100.0  # two features that no vector uses
    quality, codes = code_quality(autoencoder, x), autoencoder.encode(x).detach()
    active = [sum(1 for value in row if value != 0) for row in codes.tolist()]
    assert quality.l0 == pytest.approx(np.mean(active))
    assert quality.dead == sum(1 for f in range(11) if not any(codes[:, f].tolist()))
    lost = sum(float(((a - b) ** 2).sum()) for a, b in zip(autoencoder(x).detach(), x, strict=True))
    total = sum(float(((a - x.mean(dim=0)) ** 2).sum()) for a in x)
    assert quality.explained_variance == pytest.approx(1 - lost / total)
    assert 0 < quality.dead < 11 and quality.alive == 11 - quality.dead
    assert quality.density == pytest.approx(quality.l0 / quality.alive)


def test_a_recipe_says_when_dead_features_are_resampled() -> None:
    recipe = AutoencoderRecipe(4, top_k=1, steps=90, resamplings=3)
    assert [s for s in range(90) if recipe.resamples_before(s)] == [20, 40, 60]
    assert [recipe.learning_rate_at(s) / recipe.learning_rate for s in (0, 59, 75)] == [1, 1, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 0}, "features=0; give 1 or more"),
        ({"features": 4, "steps": 0}, "steps=0; give 1 or more"),
        ({"features": 4, "l1_penalty": -1.0}, "l1_penalty=-1.0; give 0 or more"),
        ({"features": 4, "learning_rate": 0.0}, "learning_rate=0.0; give more than 0"),
        ({"features": 4, "top_k": 2, "l1_penalty": 1.0}, "both make it sparse; give one of them"),
    ],
)
def test_recipes_out_of_range_are_refused(arguments, message: str) -> None:
    with pytest.raises(ProbingError, match=message):
        AutoencoderRecipe(**arguments)


def test_sizes_and_activations_that_do_not_fit_are_refused(unchecked_shapes) -> None:
    with pytest.raises(ProbingError, match="top_k=12; give a number from 1 to the 11 features"):
        SparseAutoencoder(5, 11, top_k=12)
    with pytest.raises(ProbingError, match="0 features of 5 inputs"):
        SparseAutoencoder(5, 0)
    with pytest.raises(ProbingError, match="all 9 activations are alike"):
        fit_sparse_autoencoder(torch.ones(9, 3), AutoencoderRecipe(6, top_k=2))
