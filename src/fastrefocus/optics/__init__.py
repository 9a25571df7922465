"""Lens, point spread functions and circle of confusion."""
