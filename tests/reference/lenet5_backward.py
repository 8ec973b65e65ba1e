"""Projection through LeNet-5 written out by hand: float64, explicit sums, no autograd.

The forward pass stores what the backward pass needs. Going back, a convolution is transposed by
adding its kernel, times the signal, at every position; an average spreads its signal evenly; a tanh
follows the rule asked for.
"""

import numpy as np

AMPLITUDE, SLOPE = 1.7159, 2.0 / 3.0


def convolve(maps: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    outs, _, size, _ = weight.shape
    height, width = maps.shape[1] - size + 1, maps.shape[2] - size + 1
    result = np.zeros((outs, height, width))
    for y in range(height):
        for x in range(width):
            window = maps[:, y : y + size, x : x + size]
            result[:, y, x] = (window * weight).sum(axis=(1, 2, 3)) + bias
    return result


def convolve_back(signal: np.ndarray, weight: np.ndarray, shape: tuple) -> np.ndarray:
    size, result = weight.shape[2], np.zeros(shape)
    for o, y, x in np.argwhere(signal != 0):
        result[:, y : y + size, x : x + size] += signal[o, y, x] * weight[o]
    return result


def average(maps: np.ndarray, factor: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Sums of 2 x 2 blocks times `factor` plus `bias`, a map each; a plain mean has 1/4 and 0."""
    channels, height, width = maps.shape
    result = np.zeros((channels, height // 2, width // 2))
    for y in range(height // 2):
        for x in range(width // 2):
            blocks = maps[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            result[:, y, x] = blocks.sum(axis=(1, 2)) * factor[:channels] + bias[:channels]
    return result


def average_back(signal: np.ndarray, factor: np.ndarray, shape: tuple) -> np.ndarray:
    result = np.zeros(shape)
    for c, y, x in np.argwhere(signal != 0):
        result[c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] += signal[c, y, x] * factor[c]
    return result


def squash_back(signal: np.ndarray, inner: np.ndarray, choice: str) -> np.ndarray:
    """Through 1.7159 tanh(2/3 x): the two factors are linear, `inner` is tanh(2/3 x) itself."""
    signal = AMPLITUDE * signal
    if choice == "gradient":
        signal = signal * (1 - inner**2)
    elif choice == "agreeing":
        signal = np.where(signal * inner > 0, signal, 0.0)
    else:
        assert choice == "straight"
    return SLOPE * signal


class Network:
    """The layers up to conv3 with the numbers of a PyTorch LeNet-5 in float64."""

    LAYERS = ("conv1", "pool1", "conv2", "pool2", "conv3")

    def __init__(self, model) -> None:
        self.numbers = {}
        for name in self.LAYERS:
            layer = getattr(model, name)
            if name.startswith("conv"):
                sparse = layer.weight.ndim == 3
                weight = self._dense(layer) if sparse else self._array(layer.weight)
                self.numbers[name] = weight, self._array(layer.bias)
            elif hasattr(layer, "coefficient"):
                self.numbers[name] = self._array(layer.coefficient), self._array(layer.bias)
            else:
                self.numbers[name] = np.full(16, 0.25), np.zeros(16)

    @staticmethod
    def _array(tensor) -> np.ndarray:
        return tensor.detach().numpy().astype(np.float64)

    def _dense(self, layer) -> np.ndarray:
        kernels, dense, kernel = self._array(layer.weight), np.zeros((16, 6, 5, 5)), 0
        for to, sources in enumerate(layer.table):
            for source in sources:
                dense[to, source] = kernels[kernel]
                kernel += 1
        return dense

    def forward(self, image: np.ndarray) -> tuple[dict, dict, dict]:
        """Outputs, inputs and, for the tanh after each layer, tanh(2/3 x)."""
        outputs, inputs, inner, maps = {}, {}, {}, image
        for name in self.LAYERS:
            inputs[name] = maps
            step = convolve if name.startswith("conv") else average
            outputs[name] = step(maps, *self.numbers[name])
            inner[name] = np.tanh(SLOPE * outputs[name])
            maps = AMPLITUDE * inner[name]
        return outputs, inputs, inner

    def project(self, passed, layer, channel, row, column, choice) -> tuple[float, np.ndarray]:
        """The unit's value and its projection onto the image, given what `forward` returned."""
        outputs, inputs, inner = passed
        signal = np.zeros_like(outputs[layer])
        signal[channel, row, column] = 1.0
        names = self.LAYERS[: self.LAYERS.index(layer) + 1]
        for position, name in reversed(list(enumerate(names))):
            back = convolve_back if name.startswith("conv") else average_back
            signal = back(signal, self.numbers[name][0], inputs[name].shape)
            if position:
                signal = squash_back(signal, inner[names[position - 1]], choice)
        return float(outputs[layer][channel, row, column]), signal
