"""What trains: everything here runs in the trainer's own process and may import torch.

``trl`` drives TRL's trainers; ``rows`` makes their input, ``weights`` loads and saves models, ``meter``
writes curves and progress, ``head`` scores only the tokens that count. Nothing of this room outside
``worker`` imports them.
"""
