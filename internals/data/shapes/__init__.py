"""The stand-in for Imagenette: textured things on a table, drawn by this package."""
