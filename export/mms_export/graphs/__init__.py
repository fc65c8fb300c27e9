"""ONNX graphs, written node by node for each precision."""
