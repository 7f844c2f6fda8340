"""ONNX graphs as differentiable modules: read, simplified, and interpreted by operators of torch."""
