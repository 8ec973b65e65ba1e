from .fields import ReceptiveField as ReceptiveField
from .summary import LayerSummary as LayerSummary
from .summary import connections as connections
from .summary import latency as latency
from .summary import summarize as summarize
from .trace import receptive_field as receptive_field
