"""The statistics that published weights expect of their input."""

from internals.data.normalization import Normalization

# What torchvision's networks were trained on: those of ImageNet's training images.
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
