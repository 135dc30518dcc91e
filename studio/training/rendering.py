"""How messages become tokens: the one place for training, evaluation and serving.

The invariant: what a model is trained on, what it is judged by and what it is asked at serving are
rendered by these functions, so that a prompt's tokens are the same everywhere. A text is cut at the
start and the end of each answer *before* it is tokenised, because at serving the prompt is tokenised
alone too, and a tokeniser may join characters across that border.

The functions are pure and import nothing heavy: a tokeniser is handed in. They do not protect against
prompts that spell the model's special tokens (``<|im_end|>``): the tokeniser takes them for real.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from studio.core import InvalidInput

#: For models that bring no chat template (plain base models).
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].capitalize() + ': ' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)

Turns = Sequence[Mapping[str, str]]


class ChatTokenizer(Protocol):
    """What is used of a transformers tokeniser."""

    chat_template: Any
    eos_token: Any
    eos_token_id: Any
    all_special_ids: Any

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render messages with the model's template."""

    def __call__(self, text: Any, **options: Any) -> Any:
        """Tokenise ``text``."""


def render_text(tokenizer: ChatTokenizer, messages: Turns, *, generate: bool) -> str:
    """The text of ``messages``; with ``generate`` it ends where the assistant's answer begins."""
    text: str = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        chat_template=None if tokenizer.chat_template else PLAIN_TEMPLATE,
        tokenize=False,
        add_generation_prompt=generate,
    )
    return text


def render_prompt_ids(tokenizer: ChatTokenizer, messages: Turns) -> list[int]:
    """The tokens that a model is asked with: ``messages`` and the opening of the assistant's turn."""
    return _tokenise(tokenizer, render_text(tokenizer, messages, generate=True))


def render_answer_ids(
    tokenizer: ChatTokenizer, prompt_messages: Turns, answer_messages: Turns
) -> tuple[list[int], list[int]]:
    """The tokens of a prompt and of its answer, the answer with its end-of-turn token.

    What a template writes after the end of turn (often a newline) belongs to neither: no model has to
    say it.

    Raises:
        InvalidInput: The template renders the prompt otherwise once an answer follows.
    """
    prompt = render_text(tokenizer, prompt_messages, generate=True)
    whole = render_text(tokenizer, [*prompt_messages, *answer_messages], generate=False)
    if not whole.startswith(prompt):
        raise InvalidInput(
            "This model's chat template renders a prompt differently once an answer follows it, so "
            "the answer's tokens cannot be told apart.",
            "Use a model whose template only ever appends.",
        )
    return _tokenise(tokenizer, prompt), _answer(tokenizer, whole[len(prompt) :])


def render_conversation_ids(tokenizer: ChatTokenizer, messages: Turns) -> tuple[list[int], list[bool]]:
    """The tokens of a conversation, and for each whether it belongs to an answer (every answer counts).

    Where a template rewrites earlier turns (it drops the reasoning of old answers, say), only the last
    answer is marked: the earlier ones do not stand in the text as the model would have said them.

    Raises:
        InvalidInput: As ``render_answer_ids``; or no message is the assistant's.
    """
    answers = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    if not answers:
        raise InvalidInput("The conversation has no answer to learn.", "Add an assistant message.")
    conversation = messages[: answers[-1] + 1]
    whole = render_text(tokenizer, conversation, generate=False)
    spans = [_span(tokenizer, conversation, place) for place in answers]
    if not all(whole.startswith(head + answer) for head, answer in spans):
        prompt, answer_ids = render_answer_ids(tokenizer, conversation[:-1], conversation[-1:])
        return prompt + answer_ids, [False] * len(prompt) + [True] * len(answer_ids)
    return _joined(tokenizer, spans)


def _span(tokenizer: ChatTokenizer, messages: Turns, place: int) -> tuple[str, str]:
    """The text before the answer at ``place``, and the answer with its end of turn."""
    head = render_text(tokenizer, messages[:place], generate=True)
    text = render_text(tokenizer, messages[: place + 1], generate=False).rstrip()
    return head, text[len(head) :] if text.startswith(head) else "\0"


def _joined(tokenizer: ChatTokenizer, spans: list[tuple[str, str]]) -> tuple[list[int], list[bool]]:
    ids: list[int] = []
    mask: list[bool] = []
    done = 0
    for head, answer in spans:
        between = _tokenise(tokenizer, head[done:])
        said = _answer(tokenizer, answer)
        ids += between + said
        mask += [False] * len(between) + [True] * len(said)
        done = len(head) + len(answer)
    return ids, mask


def _answer(tokenizer: ChatTokenizer, text: str) -> list[int]:
    """The tokens of an answer's text up to and with its end-of-turn token, which is added if missing."""
    ids = _tokenise(tokenizer, text.rstrip())
    if tokenizer.eos_token_id is not None and (not ids or ids[-1] not in tokenizer.all_special_ids):
        ids.append(tokenizer.eos_token_id)
    return ids


def _tokenise(tokenizer: ChatTokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
