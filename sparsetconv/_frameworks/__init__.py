"""Layers and nodes of other packages as operators: ``torch``, ``onnx``, ``keras``.

None of these packages is imported: the converters only read attributes of layers and nodes. ``shared`` has
the common parts of the converters, ``torch_weights`` reads the weights that a torch layer will use in its
next call.
"""
