"""Depth: how far each pixel of a photo is, from an ONNX network or from elsewhere."""
