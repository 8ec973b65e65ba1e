"""A classifier small enough for float64 and Captum, in every spelling of its rectifiers."""

import torch
import torch.nn.functional as functional
from torch import nn


class SmallClassifier(nn.Module):
    """Two convolutions, a max pooling and a linear layer: (n, 3, 11, 13) to 5 scores."""

    def __init__(self, activation=nn.ReLU, inplace: bool = False) -> None:
        super().__init__()
        torch.manual_seed(23)
        options = {"inplace": True} if inplace else {}
        self.conv1 = nn.Conv2d(3, 7, kernel_size=3, padding=1)
        self.relu1 = activation(**options)
        self.pool1 = nn.MaxPool2d(kernel_size=2)
        self.conv2 = nn.Conv2d(7, 6, kernel_size=3)
        self.relu2 = activation(**options)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6 * 3 * 4, 5)
        self.double()
        with torch.no_grad():  # livelier than at birth: the images are of several classes
            self.conv2.weight.mul_(4)
            self.fc.weight.sub_(self.fc.weight.mean(dim=1, keepdim=True)).mul_(4)

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.relu2(self.conv2(x))
        return self.fc(self.drop(x.flatten(1)))


class FunctionalClassifier(SmallClassifier):
    """The same with rectifiers in place and without modules."""

    def forward(self, x):
        x = self.pool1(functional.relu_(self.conv1(x)))
        x = self.conv2(x).clamp_(min=0)
        return self.fc(self.drop(torch.flatten(x, 1)))


SPELLINGS = {
    "modules": SmallClassifier,
    "in place": lambda: SmallClassifier(inplace=True),
    "functions": FunctionalClassifier,
}


def photographs(n: int = 3):
    """`n` images for the classifier, in float64."""
    random = torch.Generator().manual_seed(29)
    return torch.randn(n, 3, 11, 13, generator=random, dtype=torch.float64)
