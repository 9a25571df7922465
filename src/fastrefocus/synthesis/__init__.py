"""Rebuild a misfocused photo from patches of focused ones (paper B)."""
