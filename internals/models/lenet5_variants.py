"""Two later readings of LeNet-5 that the laboratory chapters compare with it."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.models.lenet5_initialisations import scale_by
from internals.models.lenet5_parts import AvgPool2d


class LeNet5Softmax(nn.Module):
    """LeNet-5 with dense C3, plain tanh, Xavier weights and ten logits: 61,706 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5)
        self.tanh1 = nn.Tanh()
        self.pool1 = AvgPool2d(kernel_size=2, stride=2)
        self.tanh2 = nn.Tanh()
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.tanh3 = nn.Tanh()
        self.pool2 = AvgPool2d(kernel_size=2, stride=2)
        self.tanh4 = nn.Tanh()
        self.conv3 = nn.Conv2d(16, 120, kernel_size=5)
        self.tanh5 = nn.Tanh()
        self.linear1 = nn.Linear(120, 84)
        self.tanh6 = nn.Tanh()
        self.linear2 = nn.Linear(84, 10)
        self.apply(partial(scale_by, scheme="xavier", gain=nn.init.calculate_gain("tanh")))

    def forward(self, x: Float[Tensor, "n 1 32 32"]) -> Float[Tensor, "n 10"]:
        x = self.tanh2(self.pool1(self.tanh1(self.conv1(x))))
        x = self.tanh4(self.pool2(self.tanh3(self.conv2(x))))
        x = self.tanh5(self.conv3(x))
        x = self.tanh6(self.linear1(torch.flatten(x, 1)))
        return self.linear2(x)


class LeNet5Max28(nn.Module):
    """LeNet-5 for unpadded 28 x 28 digits, with max pooling and ten logits: 61,706 parameters.

    `activation` makes the non-linearity of every layer; weights are Kaiming's for rectifiers.
    """

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.act1 = activation()
        self.pool1 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.act2 = activation()
        self.pool2 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.linear1 = nn.Linear(400, 120)
        self.act3 = activation()
        self.linear2 = nn.Linear(120, 84)
        self.act4 = activation()
        self.linear3 = nn.Linear(84, 10)
        self.apply(partial(scale_by, scheme="kaiming", gain=nn.init.calculate_gain("relu")))

    def forward(self, x: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
        x = self.pool1(self.act1(self.conv1(x)))
        x = self.pool2(self.act2(self.conv2(x)))
        x = self.act3(self.linear1(torch.flatten(x, 1)))
        x = self.act4(self.linear2(x))
        return self.linear3(x)
