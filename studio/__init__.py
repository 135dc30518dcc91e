"""The service layer of Tandem: everything the studio can do, without a user interface.

Nothing below this package imports gradio, and nothing here imports torch outside the
subprocesses that train, serve and convert models.
"""

__version__ = "0.1.0"
