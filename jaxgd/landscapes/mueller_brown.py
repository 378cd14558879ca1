"""The surface of Mueller and Brown, on which chemists try saddle searches."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgd.base import Array, Facts, KnownPoint, Landscape, Stop

# Terms of the sum: height A, quadratic form a, b, c, and centre (x0, y0).
HEIGHT = np.array([-200.0, -100.0, -170.0, 15.0])
FORM_XX = np.array([-1.0, -1.0, -6.5, 0.7])
FORM_XY = np.array([0.0, 0.0, 11.0, 0.6])
FORM_YY = np.array([-10.0, -10.0, -6.5, 0.7])
CENTRE_X = np.array([1.0, 0.0, -0.5, -1.0])
CENTRE_Y = np.array([0.0, 0.5, 1.5, 1.0])

LOW, HIGH = np.array([-1.5, -0.5]), np.array([1.2, 2.0])

POINTS = tuple(
    KnownPoint(value=value, index=index, params=np.array(params))
    for value, index, params in (
        (-146.699517209954, 0, (-0.5582236346330243, 1.4417258418046686)),
        (-108.16672411685235, 0, (0.6234994049308765, 0.02803775852868566)),
        (-80.76781812965903, 0, (-0.050010822998206084, 0.4666941048719721)),
        (-72.24894011232522, 1, (0.21248658200066198, 0.29298832510736783)),
        (-40.6648435086574, 1, (-0.8220015587327321, 0.6243128028148713)),
    )
)


def mueller_brown() -> Landscape:
    """Returns the Mueller-Brown surface: three minima joined by two saddles along a bent path.

        value(x, y) = sum_k A_k exp(a_k (x - x_k)^2 + b_k (x - x_k)(y - y_k) + c_k (y - y_k)^2).

    Starts are uniform on [-1.5, 1.2] x [-0.5, 2]. Gradient descent is stable in every minimum for learning
    rates below 4.9e-4.

    Example:
      >>> [f"{point.value:.4f}" for point in mueller_brown().facts.points]
      ['-146.6995', '-108.1667', '-80.7678', '-72.2489', '-40.6648']

    References:
      Mueller and Brown, Theoretica Chimica Acta 53, 75 (1979).
    """

    def value(params: Array) -> Array:
        constant = lambda numbers: jnp.asarray(numbers, params.dtype)
        x, y = params[0] - constant(CENTRE_X), params[1] - constant(CENTRE_Y)
        form = constant(FORM_XX) * x**2 + constant(FORM_XY) * x * y + constant(FORM_YY) * y**2
        return jnp.sum(constant(HEIGHT) * jnp.exp(form))

    def sample(key: jax.Array) -> Array:
        low, high = jnp.asarray(LOW), jnp.asarray(HIGH)
        return low + (high - low) * jax.random.uniform(key, (2,))

    return Landscape(
        name="mueller_brown",
        value=value,
        sample=sample,
        facts=Facts(
            source="Mueller and Brown 1979, polished by Newton steps in float64",
            points=POINTS,
            num_minima=3,
            num_critical_points=5,
            max_learning_rate=4.9e-4,
        ),
        default_optimizer="sgd:learning_rate=0.0002",
        default_stop=Stop(gradient_norm=1e-7, max_steps=20_000),
    )
