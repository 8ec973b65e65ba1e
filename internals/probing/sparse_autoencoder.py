"""Sparse autoencoders: codes in a learned dictionary, of which each vector uses few entries.

The dictionary has more entries than the layer has units (Bricken et al. 2023).
`SparseAutoencoder` is the network, an `AutoencoderRecipe` says how it is fitted, and
`fit_sparse_autoencoder` does it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import ProbingError
from internals.probing.vectors import check_activations, total_variance
from internals.progress import Progress

_ENCODER_SHARE = 0.2  # length of a resampled encoder row, of the mean row in use (Bricken et al.)
_SAMPLE = 8192  # vectors, drawn to see which features are dead


class SparseAutoencoder(nn.Module):
    """f = sparse(W_e (x - b_d) + b_e) and x' = W_d f + b_d, the columns of W_d of length 1.

    `sparse` is a rectifier, behind which only the `top_k` largest features of each vector stay
    (Makhzani and Frey 2014). Columns have length 1, for otherwise a penalty on f could be dodged by
    a longer column (Bricken et al. 2023, "setup of the sparse autoencoder"). New weights are random
    columns and their transpose.

    Args:
        inputs: Length of the vectors.
        features: Length of the dictionary.
        top_k: How many features of a vector may be above 0; by default all.
        generator: Draws the columns.

    Raises:
        ProbingError: The sizes are below 1, or `top_k` is not among the features.
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        *,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if inputs < 1 or features < 1:
            raise ProbingError(f"{features} features of {inputs} inputs; give 1 or more of each")
        if top_k is not None and not 1 <= top_k <= features:
            raise ProbingError(f"top_k={top_k}; give a number from 1 to the {features} features")
        self.top_k = top_k
        columns = torch.randn(inputs, features, generator=generator)
        self.decoder = nn.Parameter(columns / columns.norm(dim=0))
        self.encoder = nn.Parameter(self.decoder.detach().T.clone())
        self.encoder_bias = nn.Parameter(torch.zeros(features))
        self.decoder_bias = nn.Parameter(torch.zeros(inputs))

    def encode(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n features"]:
        """How much of each feature is in some vectors: never negative, and mostly 0.

        Args:
            x: Vectors (n, inputs).

        Returns:
            Features (n, features), in the unit of `x`.
        """
        sums = nn.functional.linear(x - self.decoder_bias, self.encoder, self.encoder_bias)
        features = sums.relu()
        if self.top_k is None or self.top_k == features.shape[1]:
            return features
        values, indices = features.topk(self.top_k, dim=1, sorted=False)
        return torch.zeros_like(features).scatter(1, indices, values)

    def decode(self, features: Float[Tensor, "n features"]) -> Float[Tensor, "n inputs"]:
        """The sum of the columns, each as much as there is of its feature, and the bias.

        Args:
            features: (n, features).

        Returns:
            Vectors (n, inputs).
        """
        return nn.functional.linear(features, self.decoder, self.decoder_bias)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n inputs"]:
        """The reconstructions of vectors `x` (n, inputs) from their features."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def remove_parallel_gradient(self) -> None:
        """Take from the decoder's gradient what would only change the lengths of its columns."""
        gradient = self.decoder.grad
        if gradient is not None:
            gradient -= (gradient * self.decoder).sum(dim=0) * self.decoder

    @torch.no_grad()
    def normalize_decoder(self) -> None:
        """Give every column of the decoder length 1 again."""
        self.decoder.div_(self.decoder.norm(dim=0))

    def extra_repr(self) -> str:
        """Its sizes, as other layers print theirs."""
        inputs, features = self.decoder.shape
        top_k = "" if self.top_k is None else f", top_k={self.top_k}"
        return f"{inputs}, {features}{top_k}"


@dataclass(frozen=True)
class AutoencoderRecipe:
    """How a sparse autoencoder is fitted, by Adam.

    Args:
        features: Length of the dictionary.
        top_k: How many features of a vector may be above 0; by default all.
        l1_penalty: The price of each unit of the features' sum, in shares of the activations'
            standard deviation. It is an alternative to `top_k`.
        steps: How many.
        batch_size: Vectors in each.
        learning_rate: It falls to 0 over the last third of the steps.
        resamplings: How many times, evenly spread over the first two thirds, features that are 0 on
            8,192 vectors are resampled.

    Raises:
        ProbingError: A value is out of range, or both `top_k` and `l1_penalty` are given.
    """

    features: int
    top_k: int | None = None
    l1_penalty: float = 0.0
    steps: int = 600
    batch_size: int = 256
    learning_rate: float = 5e-3
    resamplings: int = 3

    def __post_init__(self) -> None:
        minima = {"features": 1, "steps": 1, "batch_size": 1, "resamplings": 0, "l1_penalty": 0}
        for name, minimum in minima.items():
            if not minimum <= getattr(self, name) < float("inf"):
                raise ProbingError(f"{name}={getattr(self, name)}; give {minimum} or more")
        if not 0 < self.learning_rate < float("inf"):
            raise ProbingError(f"learning_rate={self.learning_rate}; give more than 0")
        if self.top_k is not None and self.l1_penalty:
            raise ProbingError(
                f"top_k={self.top_k} and l1_penalty={self.l1_penalty} both make it sparse; "
                "give one of them"
            )

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step.

        Args:
            step: Counted from 0.
        """
        remaining = (self.steps - step) / self.steps
        return self.learning_rate * min(1.0, 3 * remaining)

    def resamples_before(self, step: int) -> bool:
        """Whether dead features are resampled before a step.

        Args:
            step: Counted from 0.
        """
        last = 2 * self.steps // 3
        numbers = range(1, self.resamplings + 1)
        return step in {last * number // self.resamplings for number in numbers}


def fit_sparse_autoencoder(
    activations: Float[Tensor, "n inputs"], recipe: AutoencoderRecipe, *, seed: int = 0
) -> SparseAutoencoder:
    """Fit a sparse autoencoder to activations.

    It makes small the squared distance of reconstructions from vectors, in shares of the
    activations' variance, plus the price of the features. The same arguments give the same numbers.

    Args:
        activations: One row a vector, (n, inputs).
        recipe: How it is fitted.
        seed: Draws the first weights, the batches and what dead features are pointed at.

    Returns:
        The autoencoder in evaluation mode, in single precision and on the CPU, for vectors in the
        unit of the activations.

    Raises:
        ProbingError: The activations have no variance, or are none.
    """
    rows = check_activations(activations).float().cpu()
    scale = total_variance(rows) ** 0.5  # so that no hyperparameter depends on the unit
    rows = rows / scale
    generator = torch.Generator().manual_seed(seed)
    autoencoder = SparseAutoencoder(
        rows.shape[1], recipe.features, top_k=recipe.top_k, generator=generator
    )
    with torch.no_grad():
        autoencoder.decoder_bias.copy_(rows.mean(dim=0))
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=recipe.learning_rate)
    with Progress("sparse autoencoder", recipe.steps, quiet=10) as bar, torch.enable_grad():
        for step in range(recipe.steps):
            if recipe.resamples_before(step):
                sample = _draw(rows, _SAMPLE, generator)
                resample_dead_features(autoencoder, optimizer, sample, generator)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate_at(step)
            batch = _draw(rows, recipe.batch_size, generator)
            _take_step(autoencoder, optimizer, batch, recipe.l1_penalty)
            bar.advance()
    with torch.no_grad():
        # A rectifier commutes with a positive factor: in the unit of the activations again.
        autoencoder.encoder_bias.mul_(scale)
        autoencoder.decoder_bias.mul_(scale)
    return autoencoder.requires_grad_(False).eval()


def penalised_loss(
    autoencoder: SparseAutoencoder, x: Float[Tensor, "n inputs"], l1_penalty: float
) -> Float[Tensor, ""]:
    """The mean over vectors of |x - x'|^2 + `l1_penalty` |f|_1 (Bricken et al. 2023).

    Args:
        autoencoder: Gives x' and f.
        x: Vectors (n, inputs).
        l1_penalty: The price of each unit of the features' sum.
    """
    features = autoencoder.encode(x)
    error = (autoencoder.decode(features) - x).square().sum(dim=1)
    return (error + l1_penalty * features.sum(dim=1)).mean()


@torch.no_grad()
def resample_dead_features(
    autoencoder: SparseAutoencoder,
    optimizer: torch.optim.Adam,
    x: Float[Tensor, "n inputs"],
    generator: torch.Generator,
) -> None:
    """Point the features that are 0 for all of some vectors at those that are reconstructed badly.

    Vectors are drawn with the square of their loss as weight, and the optimiser forgets its moments
    of these features. (Bricken et al. 2023, appendix on neuron resampling.)

    Args:
        autoencoder: Is changed.
        optimizer: That of its parameters.
        x: Vectors (n, inputs).
        generator: Draws among them.
    """
    dead = ~(autoencoder.encode(x) > 0).any(dim=0)
    if not dead.any():
        return
    errors = (autoencoder(x) - x).square().sum(dim=1)
    weights = errors.double().square() + torch.finfo(torch.float64).tiny
    rows = torch.multinomial(weights, int(dead.sum()), replacement=True, generator=generator)
    directions = x[rows] - autoencoder.decoder_bias
    tiny = torch.finfo(directions.dtype).tiny
    directions /= directions.norm(dim=1, keepdim=True).clamp_min(tiny)
    alive_lengths = autoencoder.encoder[~dead].norm(dim=1)
    length = alive_lengths.mean() if len(alive_lengths) else torch.tensor(1.0)
    autoencoder.decoder[:, dead] = directions.T
    autoencoder.encoder[dead] = _ENCODER_SHARE * length * directions
    autoencoder.encoder_bias[dead] = 0
    for parameter, index in (
        (autoencoder.decoder, (slice(None), dead)),
        (autoencoder.encoder, dead),
        (autoencoder.encoder_bias, dead),
    ):
        for moment in ("exp_avg", "exp_avg_sq"):
            if parameter in optimizer.state:
                optimizer.state[parameter][moment][index] = 0


def _draw(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of `rows`, drawn with replacement; all of them where there are no more."""
    if count >= len(rows):
        return rows
    return rows[torch.randint(len(rows), (count,), generator=generator)]


def _take_step(
    autoencoder: SparseAutoencoder,
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    l1_penalty: float,
) -> None:
    optimizer.zero_grad()
    penalised_loss(autoencoder, batch, l1_penalty).backward()
    autoencoder.remove_parallel_gradient()
    optimizer.step()
    autoencoder.normalize_decoder()
