from .record import Unit as Unit
from .record import capture as capture
from .similarity import centred_alignment as centred_alignment
from .similarity import gram_matrices as gram_matrices
from .strongest import Strongest as Strongest
from .strongest import class_purity as class_purity
from .strongest import merged as merged
from .strongest import strongest as strongest
