"""Other tools that train: LLaMA-Factory and Axolotl, each in a virtual environment of its own.

``environments`` knows where they are installed, ``installing`` puts them there (a job) and ``service`` is
what people ask. ``llamafactory`` and ``axolotl`` put a recipe into the tool's own settings, or say by field
what it cannot do; ``rows`` writes the data. A run is a job like any other (``python -m`` this package): it
starts the tool as a child of its own, reads what it wrote (``events``, ``readings``), takes its checkpoints
over (``shelf``) and hands its weights on (``handover``).

The two are spoken to by files, signals and exit codes only: nothing of theirs is imported here, and no torch.
"""
