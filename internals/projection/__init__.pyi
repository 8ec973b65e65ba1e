from .backward import Projection as Projection
from .backward import project as project
from .evidence import Evidence as Evidence
from .gather import gather_evidence as gather_evidence
from .rules import RULES as RULES
from .rules import TANH_RULES as TANH_RULES
from .sanity import randomise as randomise
from .sanity import rank_correlation as rank_correlation
