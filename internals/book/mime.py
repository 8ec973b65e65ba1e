"""The private output types by which a chapter hands its figures, tables and metrics over."""

FIGURE = "application/vnd.internals.figure+json"  # {name, caption, alt, width, height}
DARK = "application/vnd.internals.dark+png"  # the figure drawn for dark paper, base64
TABLE = "application/vnd.internals.table+json"  # {name, caption}
METRICS = "application/vnd.internals.metrics+json"  # {name: number or text}
