"""The ONNX graphs of a bundle, written node by node and precision by precision."""
