"""The batched filters equal filterpy's, one object at a time, to 1e-9."""

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import KalmanFilter

from spoton import motion


def _covariances(rng, count, size):
    root = rng.normal(size=(count, size, size))
    return root @ np.swapaxes(root, 1, 2) + np.eye(size)


def _reference(mean, cov, F, Q, z, R, H):
    reference = KalmanFilter(dim_x=len(mean), dim_z=len(z))
    reference.x, reference.P = mean.copy(), cov.copy()
    reference.F, reference.Q, reference.H, reference.R = F, Q, H, R
    reference.predict()
    predicted = reference.x.copy(), reference.P.copy()
    reference.update(z)
    return *predicted, reference.x, reference.P, reference.mahalanobis**2


@pytest.mark.parametrize(("dims", "people"), [(1, 3), (2, 17), (4, 5)])
def test_predict_update_and_distance_equal_filterpy(dims, people):
    rng = np.random.default_rng(dims)
    F, Q = motion.constant_velocity(0.125, dims, 1.7)
    H = motion.position_of(dims)
    mean, cov = rng.normal(size=(people, 2 * dims)), _covariances(rng, people, 2 * dims)
    z, R = rng.normal(size=(people, dims)), _covariances(rng, people, dims)
    predicted = motion.predict(mean, cov, F, Q)
    corrected = motion.update(*predicted, z, R, H)
    distance = motion.squared_mahalanobis(*predicted, z, R, H)
    for n in range(people):
        expected = _reference(mean[n], cov[n], F, Q, z[n], R[n], H)
        actual = (predicted[0][n], predicted[1][n], corrected[0][n], corrected[1][n], distance[n, n])
        for got, wanted in zip(actual, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


def test_process_noise_equals_filterpy():
    _, Q = motion.constant_velocity(0.4, 1, 3.0)
    np.testing.assert_allclose(Q, Q_continuous_white_noise(dim=2, dt=0.4, spectral_density=9.0), rtol=1e-12)


def test_two_short_steps_are_one_long_step():
    rng = np.random.default_rng(5)
    mean, cov = rng.normal(size=(4, 4)), _covariances(rng, 4, 4)
    half, whole = motion.constant_velocity(0.2, 2, 0.8), motion.constant_velocity(0.4, 2, 0.8)
    twice = motion.predict(*motion.predict(mean, cov, *half), *half)
    once = motion.predict(mean, cov, *whole)
    np.testing.assert_allclose(twice[0], once[0], atol=1e-12)
    np.testing.assert_allclose(twice[1], once[1], atol=1e-12)


def test_time_and_noise_may_differ_per_object():
    rng = np.random.default_rng(6)
    mean, cov = rng.normal(size=(3, 4)), _covariances(rng, 3, 4)
    dt_s, sigma = np.array([0.1, 0.04, 2.0]), np.array([1.0, 2.0, 0.5])
    together = motion.predict(mean, cov, *motion.constant_velocity(dt_s, 2, sigma))
    for n in range(3):
        alone = motion.predict(
            mean[n : n + 1], cov[n : n + 1], *motion.constant_velocity(float(dt_s[n]), 2, float(sigma[n]))
        )
        np.testing.assert_array_equal(together[0][n], alone[0][0])
        np.testing.assert_array_equal(together[1][n], alone[1][0])


def test_distance_pairs_every_state_with_every_measurement():
    mean = np.array([[0.0, 0.0], [10.0, 0.0]])
    cov = np.stack([np.diag([1.0, 1.0]), np.diag([3.0, 1.0])])
    z, R = np.array([[2.0], [10.0], [12.0]]), np.ones((3, 1, 1))
    expected = [[4 / 2, 100 / 2, 144 / 2], [64 / 4, 0.0, 4 / 4]]
    np.testing.assert_allclose(motion.squared_mahalanobis(mean, cov, z, R, motion.position_of(1)), expected)


def test_nobody_stays_nobody():
    F, Q = motion.constant_velocity(0.1, 2, 1.0)
    H = motion.position_of(2)
    nobody, no_cov = np.zeros((0, 4)), np.zeros((0, 4, 4))
    assert [a.shape for a in motion.predict(nobody, no_cov, F, Q)] == [(0, 4), (0, 4, 4)]
    updated = motion.update(nobody, no_cov, np.zeros((0, 2)), np.zeros((0, 2, 2)), H)
    assert [a.shape for a in updated] == [(0, 4), (0, 4, 4)]
    z, R = np.zeros((3, 2)), np.broadcast_to(np.eye(2), (3, 2, 2))
    assert motion.squared_mahalanobis(nobody, no_cov, z, R, H).shape == (0, 3)


def test_inputs_are_left_alone():
    rng = np.random.default_rng(7)
    F, Q = motion.constant_velocity(0.1, 2, 1.0)
    mean, cov = rng.normal(size=(2, 4)), _covariances(rng, 2, 4)
    before = mean.copy(), cov.copy()
    motion.update(*motion.predict(mean, cov, F, Q), np.zeros((2, 2)), _covariances(rng, 2, 2), motion.position_of(2))
    np.testing.assert_array_equal(mean, before[0])
    np.testing.assert_array_equal(cov, before[1])


def test_independent_axes_equal_the_general_filter():
    rng = np.random.default_rng(8)
    axes = np.stack([rng.normal(size=(4, 6)), rng.normal(size=(4, 6)), *np.zeros((3, 4, 6))])
    cov = _covariances(rng, 24, 2)
    axes[2], axes[3], axes[4] = (cov[:, i, j].reshape(4, 6) for i, j in ((0, 0), (0, 1), (1, 1)))
    dt, sigma, walk, noise = (rng.uniform(0.1, 2.0, (4, 6)) for _ in range(4))
    z = rng.normal(size=(4, 6))
    F, Q = motion.constant_velocity(dt.ravel(), 1, sigma.ravel())
    Q[:, 0, 0] += walk.ravel()
    expected = motion.predict(axes[:2].reshape(2, -1).T, cov, F, Q)
    predicted = motion.predict_axes(axes, dt, sigma**2, walk)
    _same(predicted, expected)
    H = motion.position_of(1)
    expected = motion.update(*expected, z.reshape(-1, 1), noise.reshape(-1, 1, 1), H)
    before = predicted.copy()
    _same(motion.update_axes(predicted, z, noise), expected)
    np.testing.assert_array_equal(predicted, before)


def _same(axes, mean_and_cov):
    mean, cov = mean_and_cov
    flat = np.column_stack([mean, cov[:, 0, 0], cov[:, 0, 1], cov[:, 1, 1]])
    np.testing.assert_allclose(axes.reshape(5, -1).T, flat, rtol=1e-9, atol=1e-12)
