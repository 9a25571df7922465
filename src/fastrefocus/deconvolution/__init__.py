"""Undo a known or guessed blur."""
