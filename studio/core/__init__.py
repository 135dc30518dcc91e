"""What every room stands on: settings, errors, ids, the database, actors, lineage and the audit log.

Core knows no model, dataset or run. It offers the few mechanisms that must be the same everywhere:
one error tree, one way to write to SQLite, one notion of who acts, one graph of what came from what.
"""

from studio.core.access import Access, Sharing, SharingChange, Visibility
from studio.core.actors import EVERYONE, LOCAL_ADMIN, SYSTEM, Actor, Role, require
from studio.core.audit import Audit, AuditEntry
from studio.core.clock import now
from studio.core.database import Database
from studio.core.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    StudioError,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from studio.core.files import read_json, write_json
from studio.core.ids import new_id
from studio.core.lineage import Edge, Lineage, Mark, Node
from studio.core.settings import Settings

__all__ = [
    "EVERYONE",
    "LOCAL_ADMIN",
    "SYSTEM",
    "Access",
    "Actor",
    "Audit",
    "AuditEntry",
    "Conflict",
    "Database",
    "Edge",
    "Forbidden",
    "InvalidInput",
    "Lineage",
    "Mark",
    "Node",
    "NotFound",
    "Role",
    "Settings",
    "Sharing",
    "SharingChange",
    "StudioError",
    "TooLarge",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "Visibility",
    "new_id",
    "now",
    "read_json",
    "require",
    "write_json",
]
