"""Answers: model servers, the generations they give, and the deployments that clients call.

A model server (the engine) is a subprocess that holds one base model and many adapters of it;
everything that it ever answered is kept as an immutable generation. A deployment splits its users among
weighted variants so that a user stays with the same one.
"""

from studio.serving.backends.protocol import Backend, BackendRow, RowStart, RowStream
from studio.serving.records import (
    ChatMessage,
    Deployment,
    DeploymentState,
    EngineStatus,
    Generation,
    Prediction,
    RowEnd,
    RowRequest,
    Sampling,
    TokenDelta,
    VariantSpec,
)
from studio.serving.redaction import Redactor
from studio.serving.service import ServingService

__all__ = [
    "Backend",
    "BackendRow",
    "ChatMessage",
    "Deployment",
    "DeploymentState",
    "EngineStatus",
    "Generation",
    "Prediction",
    "Redactor",
    "RowEnd",
    "RowRequest",
    "RowStart",
    "RowStream",
    "Sampling",
    "ServingService",
    "TokenDelta",
    "VariantSpec",
]
