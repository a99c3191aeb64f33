"""Layers and nodes of other packages as operators: ``torch``, ``onnx``, ``keras``.

Nothing of those packages is imported: what is read are attributes, of whatever has them. ``shared`` is what
the converters have in common, ``torch_weights`` the weights that a torch layer uses in its next call.
"""
