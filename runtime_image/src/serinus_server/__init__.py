"""The Serinus inference server: ONNX models over the Open Inference Protocol."""
