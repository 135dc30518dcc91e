"""Where answers are computed, behind one Protocol.

``local`` runs our own engine, a subprocess for each base model. Other servers (Ollama, anything that
speaks OpenAI's protocol) fit behind the same Protocol. Nothing here knows deployments, storage or
users.
"""
