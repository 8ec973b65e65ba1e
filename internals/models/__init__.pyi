from .catalogue import MODELS as MODELS
from .catalogue import build as build
from .lenet5 import LeNet5 as LeNet5
from .lenet5_variants import LeNet5Max28 as LeNet5Max28
from .lenet5_variants import LeNet5Softmax as LeNet5Softmax
from .lookup import resolve_model as resolve_model
