from .mining import Images as Images
from .mining import strongest as strongest
from .ranking import Strongest as Strongest
from .recording import capture as capture
from .strongest_file import load_strongest as load_strongest
from .strongest_file import save_strongest as save_strongest
from .unit import Unit as Unit
