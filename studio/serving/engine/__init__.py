"""The model server: one base model, many LoRA adapters of it, many answers at a time.

It runs as a process of its own (``python -m studio.serving.engine``), speaks HTTP on loopback with a
bearer token, and is the only part of the serving room that imports torch. It knows nothing of
deployments, users or storage.
"""
