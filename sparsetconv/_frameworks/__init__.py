"""Layers and nodes of other packages as operators: ``torch``, ``onnx``, ``keras``.

None of these packages is imported: the converters only read attributes of layers and nodes. ``shared`` is
what the converters have in common, ``torch_weights`` reads the weights that a torch layer uses in its next
call.
"""
