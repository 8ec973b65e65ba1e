"""Oracle: NumPy's singular value decomposition, and scikit-learn's PCA."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from internals.errors import ProbingError
from internals.probing import code_quality, fit_principal_components


def rows(n: int = 61, inputs: int = 7, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, generator=generator, dtype=torch.float64)
    return torch.randn(n, inputs, generator=generator, dtype=torch.float64) @ mix + 3


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 40), st.integers(1, 9), st.integers(0, 99))
def test_shares_are_the_squared_singular_values(n: int, inputs: int, seed: int) -> None:
    x = rows(n, inputs, seed)
    values = np.linalg.svd(x.numpy() - x.numpy().mean(axis=0), compute_uv=False)
    expected = np.zeros(inputs)
    expected[: len(values)] = values**2 / (values**2).sum()
    np.testing.assert_allclose(
        fit_principal_components(x).explained_variance_ratio, expected, atol=1e-9
    )


def test_codes_and_reconstructions_are_scikit_learns() -> None:
    x, new = rows(), rows(seed=1)
    pca, oracle = fit_principal_components(x).truncated(3), PCA(3).fit(x.numpy())
    signs = np.sign(oracle.components_[range(3), np.abs(oracle.components_).argmax(axis=1)])
    np.testing.assert_allclose(pca.components, oracle.components_ * signs[:, None], atol=1e-9)
    np.testing.assert_allclose(pca.encode(new), oracle.transform(new.numpy()) * signs, atol=1e-9)
    rebuilt = oracle.inverse_transform(oracle.transform(new.numpy()))
    np.testing.assert_allclose(pca(new), rebuilt, atol=1e-9)


def test_all_components_rebuild_exactly_and_few_explain_their_shares() -> None:
    x = rows()
    pca = fit_principal_components(x)
    torch.testing.assert_close(pca(x), x)
    quality = code_quality(pca.truncated(2), x)
    assert quality.explained_variance == pytest.approx(
        pca.explained_variance_ratio[:2].sum().item(), abs=1e-9
    )
    assert (quality.l0, quality.features, quality.dead) == (2, 2, 0)


def test_each_vector_uses_its_own_largest_coordinates() -> None:
    x = rows()
    pca = fit_principal_components(x)
    full, sparse = pca.encode(x), pca.with_top_k(3).encode(x)
    for full_code, sparse_code in zip(full, sparse, strict=True):
        largest = full_code.abs().argsort(descending=True)[:3].sort().values
        assert torch.equal(sparse_code.nonzero().flatten(), largest)
        torch.testing.assert_close(sparse_code[largest], full_code[largest])
    # Directions are orthogonal, so the squared coordinates left out are what is lost.
    lost = (pca.with_top_k(3)(x) - x).square().sum(dim=1)
    torch.testing.assert_close(lost, full.square().sum(dim=1) - sparse.square().sum(dim=1))


def test_what_cannot_be_fitted_is_refused(unchecked_shapes) -> None:
    with pytest.raises(ProbingError, match=r"all 5 activations are alike"):
        fit_principal_components(torch.ones(5, 3))
    with pytest.raises(ProbingError, match=r"shape \(4, 3, 2, 2\)"):
        fit_principal_components(torch.ones(4, 3, 2, 2))
    with pytest.raises(ProbingError, match=r"int64"):
        fit_principal_components(torch.ones(5, 3, dtype=torch.int64))
    with pytest.raises(ProbingError, match=r"1 activations are not finite"):
        fit_principal_components(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]))
    with pytest.raises(ProbingError, match=r"8 components asked for; give 1 to 7"):
        fit_principal_components(rows()).truncated(8)
    with pytest.raises(ProbingError, match=r"0 components"):
        fit_principal_components(rows()).with_top_k(0)
