"""``spoton doctor``: what SpotOn needs from the machine and the servers around it, with a remedy for each fault."""
