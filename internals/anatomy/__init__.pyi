from .connection_count import connections as connections
from .field import ReceptiveField as ReceptiveField
from .receptive_fields import receptive_field as receptive_field
from .summary import LayerSummary as LayerSummary
from .summary import summarize as summarize
from .timing import latency as latency
