"""How staff review dead letters: find, read, retry, discard, export."""
