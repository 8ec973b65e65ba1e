"""The book: keys, execution, rendering, command."""
