"""What trains: everything here runs in the trainer's own process and may import torch.

``trl`` takes a task from its rows to its weights; a stage's own module (``sft``, ``dpo``, ``kto``,
``reward``) makes its trainer out of a ``setup``. ``rows`` makes their input, ``weights`` loads and saves
models, ``meter`` writes curves and progress, ``saving`` writes checkpoints, ``ranks`` and ``launch`` are for
runs of several processes, ``speed`` makes a model's steps fast and says how. Nothing of this room outside
``worker`` imports them. ``external`` is apart: it runs other tools and imports no torch.
"""
