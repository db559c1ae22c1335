"""What is so right now, in process: newest state of cameras and people, and its fan-out to live clients."""
