"""Depth files: pictures, arrays, and what phones put into their photos."""
