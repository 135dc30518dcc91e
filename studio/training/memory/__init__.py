"""How much memory a run will need, what would make it fit, and what it was measured to use.

Shapes come from a model's files without torch, parts are counted from them, and a calibration corrects
the counts by past runs of the same machine. ``MemoryForecast`` puts these together for the service.
"""

from studio.training.memory.calibration import Calibration, Observation, fit
from studio.training.memory.estimate import count, estimate
from studio.training.memory.forecast import MemoryForecast, Subject
from studio.training.memory.machine import oom_kills, this_device
from studio.training.memory.measured import Usage, read_usage, usage_of
from studio.training.memory.records import Device, Fix, MemoryEstimate, Part
from studio.training.memory.shapes import AdapterShape, Linear, ModelShape, read_adapter, read_shape

__all__ = [
    "AdapterShape",
    "Calibration",
    "Device",
    "Fix",
    "Linear",
    "MemoryEstimate",
    "MemoryForecast",
    "ModelShape",
    "Observation",
    "Part",
    "Subject",
    "Usage",
    "count",
    "estimate",
    "fit",
    "oom_kills",
    "read_adapter",
    "read_shape",
    "read_usage",
    "this_device",
    "usage_of",
]
