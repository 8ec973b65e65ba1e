"""What can go wrong, in one line a user can act on: what, the value, the remedy."""


class InternalsError(Exception):
    """An expected failure; the command prints its message on one line and exits with status 1."""


class DataError(InternalsError):
    """A data set is missing, truncated, corrupt or unknown."""


class ModelError(InternalsError):
    """A network that cannot be found, built, filled with weights or run."""


class LayerError(InternalsError):
    """A layer, channel or position that the model does not have."""


class AnatomyError(InternalsError):
    """An operation whose receptive field cannot be stated exactly."""


class TrainingError(InternalsError):
    """A training run that cannot start or cannot go on."""


class CheckpointError(InternalsError):
    """A checkpoint or weights file that cannot be trusted."""


class AblationError(InternalsError):
    """A comparison of networks that cannot be set up or carried out."""


class ProjectionError(InternalsError):
    """A projection that would be wrong if it were drawn."""


class AttackError(InternalsError):
    """An attack that cannot be carried out on this network or these pixels."""


class ProbingError(InternalsError):
    """Activations that a probe or a code cannot be fitted to."""


class ChapterError(InternalsError):
    """A chapter that is unknown, broken or stale."""


class OutputError(InternalsError):
    """A file or folder that cannot be written."""
