"""Every closed form against dense covariances and automatic differentiation, float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mixture_reference as reference
from support import make_mixture
from tangency.errors import DataError, ModelError, NumericsError
from tangency.mixtures import Mixture, load_mixture, save_mixture
from tangency.numerics import cosine, norms

SIGMAS = (0.0, 0.05, 0.5, 2.0)


def images(mixture: Mixture, n: int = 7, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = mixture.sample(n, seed)
    return x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), y


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("isotropic", [True, False])
def test_densities_scores_and_denoisers_equal_the_dense_reference(sigma: float, isotropic: bool) -> None:
    m = make_mixture(isotropic=isotropic)
    x, y = images(m)
    flat = x.flatten(1)
    found = {
        "density": m.log_density(x, sigma),
        "density_given": m.log_density_given(x, sigma, y),
        "score": m.score(x, sigma).flatten(1),
        "score_given": m.score(x, sigma, y).flatten(1),
        "denoised": m.denoise(x, sigma).flatten(1),
        "denoised_given": m.denoise(x, sigma, y).flatten(1),
    }
    for i in range(len(x)):
        label = int(y[i])
        expected = {
            "density": reference.log_density(m, flat[i], sigma),
            "density_given": reference.log_density_given(m, flat[i], sigma, label),
            "score": reference.gradient(lambda z: reference.log_density(m, z, sigma), flat[i]),
            "score_given": reference.gradient(
                lambda z, label=label: reference.log_density_given(m, z, sigma, label), flat[i]
            ),
            "denoised": reference.posterior_mean(m, flat[i], sigma),
            "denoised_given": reference.posterior_mean(m, flat[i], sigma, label),
        }
        for name, value in expected.items():
            torch.testing.assert_close(found[name][i], value, rtol=1e-9, atol=1e-9, msg=f"{name}, image {i}")


@given(st.integers(2, 9), st.integers(1, 3), st.integers(2, 4), st.floats(0.01, 3.0), st.integers(0, 99))
def test_tweedie(d: int, rank: int, classes: int, sigma: float, seed: int) -> None:
    m = make_mixture((1, 1, d), classes, 2, min(rank, d - 1), seed=seed)
    x, y = images(m, 3, seed)
    for label in (None, y):
        mean = torch.stack(
            [
                reference.posterior_mean(m, row, sigma, None if label is None else int(label[i]))
                for i, row in enumerate(x.flatten(1))
            ]
        )
        tweedie = x.flatten(1) + sigma**2 * m.score(x, sigma, label).flatten(1)
        assert float((mean - tweedie).abs().max()) < 1e-12
        assert float((m.denoise(x, sigma, label).flatten(1) - mean).abs().max()) < 1e-12


@pytest.mark.parametrize("sigma", SIGMAS[1:])
def test_jacobian_of_the_denoiser_is_identity_plus_hessian_symmetric_and_positive(sigma: float) -> None:
    m = make_mixture()
    x, _ = images(m, 2)
    for one in x:
        jacobian = torch.autograd.functional.jacobian(
            lambda z: m.denoise(z.reshape(1, 1, 3, 5), sigma).flatten(), one.flatten()
        )
        hessian = torch.autograd.functional.hessian(lambda z: reference.log_density(m, z, sigma), one.flatten())
        expected = torch.eye(15, dtype=torch.float64) + sigma**2 * hessian
        torch.testing.assert_close(jacobian, expected, rtol=1e-8, atol=1e-9)
        assert float((jacobian - jacobian.T).abs().max()) < 1e-10
        assert float(torch.linalg.eigvalsh(jacobian).min()) > -1e-10


@pytest.mark.parametrize("sigma", SIGMAS)
def test_posterior_weighted_bayes_gradients_cancel_and_class_scores_average_to_the_score(sigma: float) -> None:
    m = make_mixture()
    x, _ = images(m)
    posterior = m.log_posterior(x, sigma).exp()
    torch.testing.assert_close(posterior.sum(1), torch.ones(len(x), dtype=torch.float64))
    total, mean = torch.zeros_like(x), torch.zeros_like(x)
    for label in range(m.classes):
        y = torch.full((len(x),), label)
        direction = m.bayes_direction(x, y, sigma)
        unit = direction.direction / norms(direction.direction).reshape(-1, 1, 1, 1)
        total += (posterior[:, label] * direction.log_norm.exp()).reshape(-1, 1, 1, 1) * unit
        mean += posterior[:, label].reshape(-1, 1, 1, 1) * m.score(x, sigma, y)
    assert float(total.abs().max()) < 1e-9
    torch.testing.assert_close(mean, m.score(x, sigma), rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_bayes_direction_equals_automatic_differentiation(sigma: float) -> None:
    m = make_mixture()
    x, y = images(m)
    found = m.bayes_direction(x, y, sigma)
    for i, row in enumerate(x.flatten(1)):
        odds = reference.gradient(lambda z, i=i: reference.log_odds(m, z, sigma, int(y[i])), row)
        assert float((found.direction[i].flatten() - odds).abs().max() / odds.abs().max()) < 1e-9
        posterior = reference.gradient(lambda z, i=i: reference.log_posterior(m, z, sigma, int(y[i])), row)
        if float(posterior.norm()) > 1e-6:  # below that the reference itself cancels
            assert float(found.log_norm[i].exp()) == pytest.approx(float(posterior.norm()), rel=1e-6)
            difference = (m.denoise(x, sigma, y) - m.denoise(x, sigma))[i].flatten() / sigma**2 if sigma else posterior
            torch.testing.assert_close(difference, posterior, rtol=1e-6, atol=1e-8)


def test_float32_bayes_direction_is_right_where_p_is_one_to_thirty_digits() -> None:
    m = make_mixture((1, 7, 9), classes=5, components=3, rank=4, noise=0.004)
    x, y = m.sample(1000, 5)
    sigma = 0.05
    exact, single = m.bayes_direction(x, y, sigma), m.bayes_direction(x.float(), y, sigma)
    joint = m.log_class_joint(x, sigma)
    others = joint.masked_fill(torch.nn.functional.one_hot(y, 5).bool(), -torch.inf)
    log_rest = others.logsumexp(1) - joint.logsumexp(1)
    assert float(log_rest.min()) < -69  # 1 − p_y below 1e-30 does occur
    assert single.direction.dtype == torch.float32
    assert float(cosine(single.direction.double(), exact.direction).min()) > 0.9999


def test_float32_equals_float64_and_batches_equal_single_images() -> None:
    m = make_mixture((2, 3, 5))
    x, y = images(m, 11)
    for sigma in (0.0, 0.25):
        torch.testing.assert_close(m.score(x.float(), sigma).double(), m.score(x, sigma), rtol=1e-3, atol=1e-3)
        whole = m.bayes_direction(x, y, sigma).direction
        for i in range(11):
            torch.testing.assert_close(m.bayes_direction(x[i : i + 1], y[i : i + 1], sigma).direction[0], whole[i])


def test_sampling_has_the_moments_of_the_mixture() -> None:
    m = make_mixture((1, 2, 3), classes=2)
    x, y = m.sample(40_000, 0)
    weights = m.log_weights.exp()
    mean = weights @ m.means
    covariance = sum(
        w * (c + torch.outer(mu - mean, mu - mean))
        for w, c, mu in zip(weights, reference.dense_covariances(m, 0.0), m.means, strict=True)
    )
    flat = x.flatten(1)
    assert float((flat.mean(0) - mean).abs().max()) < 5 * float(covariance.diagonal().max().sqrt()) / 200
    assert float((torch.cov(flat.T) - covariance).abs().max()) < 0.05 * float(covariance.diagonal().max())
    share = torch.bincount(y, minlength=2).double() / len(y)
    torch.testing.assert_close(share, m.log_prior().exp(), rtol=0, atol=0.01)


def test_score_has_mean_zero_and_stein_identity() -> None:
    m = make_mixture((1, 1, 4), classes=2, rank=1)
    x, _ = m.sample(50_000, 1)
    x = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s = m.score(x, 0.3).flatten(1)
    outer = s[:, :, None] * x.flatten(1)[:, None, :]
    z_mean = s.mean(0) / (s.std(0) / len(s) ** 0.5)
    z_stein = (outer.mean(0) + torch.eye(4, dtype=torch.float64)) / (outer.std(0) / len(s) ** 0.5)
    assert float(z_mean.abs().max()) < 4.5
    assert float(z_stein.abs().max()) < 4.5


def test_tangent_bases_are_orthonormal_and_span_the_loadings() -> None:
    m = make_mixture(rank=3)
    bases, ranks = m.bases()
    assert ranks.tolist() == [3] * 6
    for u, a in zip(bases, m.loadings, strict=True):
        torch.testing.assert_close(u.T @ u, torch.eye(3, dtype=torch.float64))
        torch.testing.assert_close(u @ (u.T @ a), a)
    x, y = images(m)
    expected = torch.stack([reference.log_joint(m, row, 0.0) for row in x.flatten(1)]).argmax(1)
    assert torch.equal(m.component(x), expected)


def test_zero_loadings_are_a_mixture_of_spheres_with_rank_zero() -> None:
    m = make_mixture()
    m = Mixture(m.shape, m.means, torch.zeros_like(m.loadings), m.noise, m.log_weights, m.component_class, m.classes)
    x, y = images(m)
    assert m.bases()[1].tolist() == [0] * 6
    assert m.bayes_direction(x, y, 0.1).direction.isfinite().all()


def test_saved_and_loaded_mixture_is_the_same(tmp_path: Path) -> None:
    m = make_mixture()
    save_mixture(m, tmp_path / "m.safetensors", {"origin": "test"})
    loaded, header = load_mixture(tmp_path / "m.safetensors")
    x, y = images(m)
    assert torch.equal(loaded.score(x, 0.1, y), m.score(x, 0.1, y))
    assert header["origin"] == "test"


def test_a_damaged_mixture_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_mixture(make_mixture(), path, {})
    content = bytearray(path.read_bytes())
    content[-9] ^= 1  # one bit of one number
    path.write_bytes(content)
    with pytest.raises(ModelError, match="checksum"):
        load_mixture(path)


def test_a_class_without_components_has_no_density() -> None:
    m = make_mixture()
    m = Mixture(m.shape, m.means, m.loadings, m.noise, m.log_weights, m.component_class, 4)
    x, _ = images(m)
    joint = m.log_class_joint(x, 0.1)
    assert joint[:, 3].isneginf().all()
    own = [m.log_joint(x, 0.1)[:, m.component_class == c].logsumexp(1) for c in range(3)]
    torch.testing.assert_close(joint[:, :3], torch.stack(own, 1))


def test_bad_arguments_are_named() -> None:
    m = make_mixture()
    x, y = images(m)
    with pytest.raises(NumericsError, match=r"sigma: got -0\.1"):
        m.score(x, -0.1)
    with pytest.raises(NumericsError, match=r"expected \(N, 1, 3, 5\)"):
        m.score(x.transpose(2, 3), 0.1)
    with pytest.raises(DataError, match="3 classes"):
        m.bayes_direction(x, y + 3, 0.1)
