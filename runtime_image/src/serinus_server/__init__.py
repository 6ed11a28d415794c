"""The Serinus inference server: ONNX models over the Open Inference Protocol."""

from importlib.metadata import version

__version__ = version("serinus-server")
