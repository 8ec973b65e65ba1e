"""Learning the dictionary of a sparse autoencoder (Bricken et al., 2023)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import ProbingError
from internals.probing.vectors import checked, total_variance
from internals.progress import Progress


class SparseAutoencoder(nn.Module):
    """f = sparse(W_e (x - b_d) + b_e) and x' = W_d f + b_d, the columns of W_d of length 1.

    `sparse` is a rectifier; with `keep` it lets through only the `keep` largest of what is left.
    Columns have length 1, for otherwise a penalty on f could be dodged by a longer column. New
    weights are random columns and their transpose, drawn from `generator`. Raises `ProbingError`
    for sizes that do not fit. (Bricken et al. 2023, "setup of the sparse autoencoder".)
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        *,
        keep: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if inputs < 1 or features < 1:
            raise ProbingError(f"{features} features of {inputs} inputs; give 1 or more of each")
        if keep is not None and not 1 <= keep <= features:
            raise ProbingError(f"keep={keep}; give a number from 1 to the {features} features")
        self.keep = keep
        columns = torch.randn(inputs, features, generator=generator)
        self.decoder = nn.Parameter(columns / columns.norm(dim=0))
        self.encoder = nn.Parameter(self.decoder.detach().T.clone())
        self.encoder_bias = nn.Parameter(torch.zeros(features))
        self.decoder_bias = nn.Parameter(torch.zeros(inputs))

    def encode(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n features"]:
        """How much of each feature is in `x`: never negative, and mostly 0."""
        sums = nn.functional.linear(x - self.decoder_bias, self.encoder, self.encoder_bias)
        features = sums.relu()
        if self.keep is None or self.keep == features.shape[1]:
            return features
        largest, which = features.topk(self.keep, dim=1, sorted=False)
        return torch.zeros_like(features).scatter(1, which, largest)

    def decode(self, features: Float[Tensor, "n features"]) -> Float[Tensor, "n inputs"]:
        """The sum of the columns, each as much as there is of its feature, and the bias."""
        return nn.functional.linear(features, self.decoder, self.decoder_bias)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n inputs"]:
        """`x` rebuilt from its features."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def drop_radial_gradient(self) -> None:
        """Take from the decoder's gradient what would only change the lengths of its columns."""
        gradient = self.decoder.grad
        if gradient is not None:
            gradient -= (gradient * self.decoder).sum(dim=0) * self.decoder

    @torch.no_grad()
    def restore_lengths(self) -> None:
        """Give every column of the decoder length 1 again."""
        self.decoder.div_(self.decoder.norm(dim=0))

    def extra_repr(self) -> str:
        """Its sizes, as other layers print theirs."""
        inputs, features = self.decoder.shape
        rule = "" if self.keep is None else f", keep={self.keep}"
        return f"{inputs}, {features}{rule}"


_ENCODER_SHARE = 0.2  # length of a resampled encoder row, of the mean row in use (Bricken et al.)
_SAMPLE = 8192  # vectors, drawn to see which features are silent


@dataclass(frozen=True)
class AutoencoderRecipe:
    """How a sparse autoencoder is fitted.

    `features` is the length of the dictionary; sparse is what has at most `keep` features at a
    time, or, where `keep` is None, what pays `sparsity` for each unit of the features' sum, in
    shares of the activations' standard deviation. Then `steps` of Adam with `batch_size` vectors,
    at `learning_rate`, which falls to 0 over the last third. `resamplings` times, evenly spread
    over the first two thirds, features that are silent on 8,192 vectors are started again. Raises
    `ProbingError` for values out of range.
    """

    features: int
    keep: int | None = None
    sparsity: float = 0.0
    steps: int = 600
    batch_size: int = 256
    learning_rate: float = 5e-3
    resamplings: int = 3

    def __post_init__(self) -> None:
        least = {"features": 1, "steps": 1, "batch_size": 1, "resamplings": 0, "sparsity": 0}
        for name, smallest in least.items():
            if not smallest <= getattr(self, name) < float("inf"):
                raise ProbingError(f"{name}={getattr(self, name)}; give {smallest} or more")
        if not 0 < self.learning_rate < float("inf"):
            raise ProbingError(f"learning_rate={self.learning_rate}; give more than 0")
        if self.keep is not None and self.sparsity:
            raise ProbingError(
                f"keep={self.keep} and sparsity={self.sparsity}; one of them makes it sparse"
            )

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, from 0."""
        left = (self.steps - step) / self.steps
        return self.learning_rate * min(1.0, 3 * left)

    def resampled_before(self, step: int) -> bool:
        """Whether silent features are started again before step `step`."""
        last = 2 * self.steps // 3
        return step in {last * number // self.resamplings for number in self._numbers}

    @property
    def _numbers(self) -> range:
        return range(1, self.resamplings + 1)


def fit_sparse_autoencoder(
    activations: Float[Tensor, "n inputs"], recipe: AutoencoderRecipe, *, seed: int = 0
) -> SparseAutoencoder:
    """A sparse autoencoder of `activations`, one row a vector, in evaluation mode on the CPU.

    It makes small the squared distance of x' from x, in shares of the activations' variance, plus
    the price of the features. The same arguments give the same numbers. Raises `ProbingError` for
    activations that cannot be fitted.
    """
    rows = checked(activations).float().cpu()
    scale = total_variance(rows) ** 0.5  # so that no hyperparameter depends on the unit
    rows = rows / scale
    generator = torch.Generator().manual_seed(seed)
    found = SparseAutoencoder(rows.shape[1], recipe.features, keep=recipe.keep, generator=generator)
    with torch.no_grad():
        found.decoder_bias.copy_(rows.mean(dim=0))
    optimizer = torch.optim.Adam(found.parameters(), lr=recipe.learning_rate)
    with Progress("sparse autoencoder", recipe.steps, quiet=10) as bar, torch.enable_grad():
        for step in range(recipe.steps):
            if recipe.resampled_before(step):
                start_again(found, optimizer, _drawn(rows, _SAMPLE, generator), generator)
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(step)
            batch = _drawn(rows, recipe.batch_size, generator)
            _take_step(found, optimizer, batch, recipe.sparsity)
            bar.advance()
    with torch.no_grad():
        # A rectifier commutes with a positive factor: in the unit of the activations again.
        found.encoder_bias.mul_(scale)
        found.decoder_bias.mul_(scale)
    return found.requires_grad_(False).eval()


def penalised_loss(
    autoencoder: SparseAutoencoder, x: Float[Tensor, "n inputs"], sparsity: float
) -> Float[Tensor, ""]:
    """The mean over rows of |x - x'|^2 + `sparsity` |f|_1 (Bricken et al. 2023)."""
    features = autoencoder.encode(x)
    error = (autoencoder.decode(features) - x).square().sum(dim=1)
    return (error + sparsity * features.sum(dim=1)).mean()


def _drawn(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of `rows`, drawn with replacement; all of them where there are no more."""
    if count >= len(rows):
        return rows
    return rows[torch.randint(len(rows), (count,), generator=generator)]


def _take_step(
    found: SparseAutoencoder, optimizer: torch.optim.Optimizer, batch: Tensor, sparsity: float
) -> None:
    optimizer.zero_grad()
    penalised_loss(found, batch, sparsity).backward()
    found.drop_radial_gradient()
    optimizer.step()
    found.restore_lengths()


@torch.no_grad()
def start_again(
    found: SparseAutoencoder,
    optimizer: torch.optim.Adam,
    rows: Tensor,
    generator: torch.Generator,
) -> None:
    """Point the features that are 0 for all `rows` at some that are rebuilt badly.

    Rows are drawn with the square of their loss as weight, and Adam forgets what it knew of these
    features. (Bricken et al. 2023, appendix on neuron resampling.)
    """
    silent = ~(found.encode(rows) > 0).any(dim=0)
    if not silent.any():
        return
    errors = (found(rows) - rows).square().sum(dim=1)
    count = int(silent.sum())
    weights = errors.double().square() + torch.finfo(torch.float64).tiny
    picked = torch.multinomial(weights, count, replacement=True, generator=generator)
    fresh = rows[picked] - found.decoder_bias
    fresh /= fresh.norm(dim=1, keepdim=True).clamp_min(torch.finfo(fresh.dtype).tiny)
    in_use = found.encoder[~silent].norm(dim=1)
    length = in_use.mean() if len(in_use) else torch.tensor(1.0)
    found.decoder[:, silent] = fresh.T
    found.encoder[silent] = _ENCODER_SHARE * length * fresh
    found.encoder_bias[silent] = 0
    for weights, where in (
        (found.decoder, (slice(None), silent)),
        (found.encoder, silent),
        (found.encoder_bias, silent),
    ):
        for moment in ("exp_avg", "exp_avg_sq"):
            if weights in optimizer.state:
                optimizer.state[weights][moment][where] = 0
