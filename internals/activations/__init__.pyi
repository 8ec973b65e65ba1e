from .mining import Images as Images
from .mining import strongest as strongest
from .ranking import Strongest as Strongest
from .recording import capture as capture
from .unit import Unit as Unit
