"""A sparse autoencoder: every activation as a sum of a few entries of a long dictionary.

Bricken et al., "Towards monosemanticity" (2023), and Cunningham et al. (2023); the rule that keeps
the k largest is that of Makhzani and Frey, "k-sparse autoencoders" (2014).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import ProbingError


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
