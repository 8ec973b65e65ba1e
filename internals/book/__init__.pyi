from .chapter import Chapter as Chapter
from .chapter import open_chapter as open_chapter
from .chapter import show as show
from .execution import execute as execute
from .layout import Layout as Layout
