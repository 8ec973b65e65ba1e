from .images import ImageSet as ImageSet
from .images import Splits as Splits
from .loading import load as load
from .normalization import Normalization as Normalization
from .normalization import Normalized as Normalized
from .sources import DATASETS as DATASETS
from .sources import identify as identify
