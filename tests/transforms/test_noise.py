"""Noise obeys its law: stationary variances, order of accuracy, tails."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgd.transforms import add_gradient_noise, always_perturbed_gradient, langevin, underdamped_langevin
from jaxgd.transforms.randomness import normal, step_key, symmetric_stable, uniform_in_ball


def samples(optimizer, curvature, num_samples, num_steps):
    def step(carry, _):
        x, state = carry
        move, state = optimizer.update(curvature * x, state, x)
        return (x + move, state), None

    x = jnp.zeros(num_samples)
    return jax.lax.scan(step, (x, optimizer.init(x)), length=num_steps)[0][0]


@pytest.mark.parametrize("rate", [0.02, 0.6])
def test_langevin_has_the_stationary_variance_of_its_discretisation(rate, key):
    temperature, curvature, number = 0.7, 1.5, 40_000
    x = samples(langevin(rate, temperature, key=key), curvature, number, int(8 / (rate * curvature)))
    expected = temperature / (curvature * (1 - rate * curvature / 2))
    assert abs(np.var(x) / expected - 1) < 4 * np.sqrt(2 / number)


def test_langevin_noise_has_exactly_the_amplitude_of_the_equation(key):
    zeros = jnp.zeros(5)
    optimizer = langevin(0.3, optax.linear_schedule(2.0, 0.0, 4))
    state = optimizer.init(zeros)
    for step, temperature in enumerate((2.0, 1.5, 1.0, 0.5, 0.0)):
        move, state = optimizer.update(zeros, state, key=key)
        noise = normal(step_key("langevin", key, None, jnp.asarray(step)), zeros)
        np.testing.assert_allclose(move, np.sqrt(2 * 0.3 * temperature) * noise, rtol=1e-6)


def transition(step, friction, curvature, key):
    """Returns A and b of z' = A z + b xi, z = (x, v), at temperature 1, on a quadratic."""
    hot, cold = (underdamped_langevin(step, temperature, friction) for temperature in (1.0, 0.0))

    def advance(optimizer, z):
        state = optimizer.init(z[0])._replace(velocity=z[1], num_steps=jnp.ones([], jnp.int32))
        move, state = optimizer.update(curvature * z[0], state, key=key)
        return jnp.stack([z[0] + move, state.velocity])

    zero = jnp.zeros(2)
    xi = normal(step_key("underdamped_langevin", key, None, jnp.ones([], jnp.int32)), zero[0])
    matrix = jax.jacfwd(lambda z: advance(cold, z))(zero)
    return np.asarray(matrix), np.asarray((advance(hot, zero) - advance(cold, zero)) / xi)


@pytest.mark.parametrize("step", [0.1, 1.2])
@pytest.mark.slow
def test_baoab_samples_a_quadratic_without_discretisation_bias(step, key):
    curvature = 2.0
    matrix, noise = transition(step, 0.7, curvature, key)
    stationary = np.linalg.solve(np.eye(4) - np.kron(matrix, matrix), np.outer(noise, noise).ravel()).reshape(2, 2)
    np.testing.assert_allclose(stationary[0, 0], 1 / curvature, rtol=1e-12)


def test_baoab_without_noise_is_of_second_order():
    friction, curvature, time = 0.5, 2.0, 2.0
    omega = np.sqrt(curvature - friction**2 / 4)
    exact = np.exp(-friction * time / 2) * (np.cos(omega * time) + friction / (2 * omega) * np.sin(omega * time))
    errors = []
    for num_steps in (10, 20, 40):
        optimizer = underdamped_langevin(time / num_steps, 0.0, friction, key=jax.random.key(0))
        x, state = jnp.ones([]), optimizer.init(jnp.ones([]))
        for _ in range(num_steps):
            move, state = optimizer.update(curvature * x, state)
            x = x + move
        errors.append(abs(float(x) - exact))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, 2, atol=0.1)


def test_without_friction_and_noise_it_is_velocity_verlet_and_keeps_the_energy():
    optimizer = underdamped_langevin(0.1, 0.0, 0.0, key=jax.random.key(0))
    x, state = jnp.ones([]), optimizer.init(jnp.ones([]))

    def step(carry, _):
        x, state = carry
        move, state = optimizer.update(x, state)
        return (x + move, state), x

    (_, _), seen = jax.lax.scan(step, (x, state), length=2000)
    assert 0.999 < np.max(np.abs(seen[-70:])) < 1.001


def test_gradient_noise_may_have_a_scale_for_each_coordinate(key):
    grad = {"a": jnp.zeros(50_000), "b": jnp.zeros((2, 3))}
    scale = {"a": 2.0, "b": jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])}
    noisy = add_gradient_noise(scale)
    noise, _ = noisy.update(grad, noisy.init(grad), key=key)
    assert abs(np.std(noise["a"]) / 2 - 1) < 4 * np.sqrt(0.5 / 50_000)
    assert np.count_nonzero(noise["b"]) == 1


@pytest.mark.parametrize("index", [0.8, 1.0, 1.5, 2.0])
def test_stable_noise_has_the_characteristic_function_of_its_law(index, key):
    number = 40_000
    noise = np.asarray(symmetric_stable(key, jnp.zeros(number), index))
    for t in (0.3, 1.0, 2.0):
        expected = np.exp(-(t**index))
        error = np.sqrt((1 + np.exp(-((2 * t) ** index)) - 2 * expected**2) / 2 / number)
        assert abs(np.mean(np.cos(t * noise)) - expected) < 4 * error


@pytest.mark.slow
def test_a_kick_is_uniform_in_its_ball(key):
    number, dim = 20_000, 3
    points = jax.vmap(lambda key: uniform_in_ball(key, jnp.zeros(dim), 2.0))(jax.random.split(key, number))
    volumes = (np.linalg.norm(points, axis=1) / 2) ** dim
    assert volumes.max() <= 1
    assert abs(np.mean(volumes) - 0.5) < 4 / np.sqrt(12 * number)
    assert np.all(np.abs(np.mean(points, axis=0)) < 4 * 2 / np.sqrt(5 * number))


def test_noise_at_every_step_has_the_norm_of_its_radius(key):
    optimizer, zeros = always_perturbed_gradient(2.0, 0.3), jnp.zeros(10_000)
    move, _ = optimizer.update(zeros, optimizer.init(zeros), key=key)
    np.testing.assert_allclose(np.linalg.norm(move), 2 * 0.3, rtol=4 * np.sqrt(0.5 / 10_000))
