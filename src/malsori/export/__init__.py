"""Networks for other runtimes: an ONNX file a network, and beside it what belongs to it."""
