"""What the pages share: escaped markup, words for numbers, wiring of events, and our own components.

Everything here is either a function that gives ``Markup`` or a small factory of Gradio components. Most
of it knows no service; what does takes the studio as its first argument, like a page's handler.
"""
