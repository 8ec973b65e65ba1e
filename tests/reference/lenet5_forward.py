"""LeNet-5's own layers by explicit loops over single numbers, in float64 NumPy."""

import math

import numpy as np

AMPLITUDE, SLOPE = 1.7159, 2.0 / 3.0


def scaled_tanh(number: float) -> float:
    up, down = math.exp(SLOPE * number), math.exp(-SLOPE * number)
    return AMPLITUDE * (up - down) / (up + down)


def subsampling(maps: np.ndarray, coefficient: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Sum of each 2 x 2 block, times the map's coefficient, plus its bias."""
    channels, height, width = maps.shape
    out = np.zeros((channels, height // 2, width // 2))
    for c in range(channels):
        for y in range(height // 2):
            for x in range(width // 2):
                total = 0.0
                for dy in range(2):
                    for dx in range(2):
                        total += maps[c, 2 * y + dy, 2 * x + dx]
                out[c, y, x] = total * coefficient[c] + bias[c]
    return out


def squared_distances(states: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    out = np.zeros((len(states), len(prototypes)))
    for n, state in enumerate(states):
        for i, prototype in enumerate(prototypes):
            for a, b in zip(state, prototype, strict=True):
                out[n, i] += (a - b) ** 2
    return out
