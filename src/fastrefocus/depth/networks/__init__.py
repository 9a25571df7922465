"""Depth networks: cards that say how each family is used, ONNX files and their sessions."""
