"""Add defocus to a sharp photo."""
