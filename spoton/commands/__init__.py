"""Groups of commands that ``spoton.cli`` puts together."""
