"""The command `gammawall`."""
