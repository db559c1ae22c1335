"""The processes that a command starts, and who looks after them."""
