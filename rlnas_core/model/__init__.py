"""Trained networks as directories that can be used elsewhere: saved, exported to ONNX, loaded."""
