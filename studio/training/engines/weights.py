"""Models in and out of files: the base, the adapter a run goes on from, and what it leaves.

The base's weights stay frozen under an adapter, in half precision where they are stored so, or packed to
four bits (NF4) for QLoRA; what is trained is always kept in float32, because a step of 1e-4 is lost in
bfloat16's eight bits. Full fine-tuning therefore loads the whole model in float32 and writes it back in
the precision it came in. An adapter that was trained over packed weights is served on the plain ones.

Arithmetic in fp16 and flash attention need a GPU and are unproven: nobody has run them there yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftModel,
    TaskType,
    get_peft_model,
    load_peft_weights,
    set_peft_model_state_dict,
)
from safetensors.torch import load_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
)

from studio.core import InvalidInput
from studio.training.engines import ranks
from studio.training.recipes import Recipe
from studio.training.records import Stage
from studio.training.task import TrainTask

_ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
_LOW = (torch.bfloat16, torch.float16)
_SINGLE_FILE = "model.safetensors"


@dataclass(frozen=True)
class Loaded:
    """A model ready to be trained, its tokeniser, and the precision of its arithmetic.

    ``half`` is whether that is bfloat16, ``fp16`` whether it is float16 with a scaled loss; ``stored`` is
    the precision that the weights came in.
    """

    model: Any
    tokenizer: Any
    half: bool
    stored: torch.dtype
    fp16: bool = False
    _trained: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def base(self) -> Any:
        """The model without its adapter's wrapper."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    def keep_precise(self) -> None:
        """Undo what TRL's constructors do to an adapter over packed weights: they round it to bfloat16."""
        for name, parameter in self.model.named_parameters():
            if name in self._trained:
                parameter.data = self._trained[name]


def load(task: TrainTask) -> Loaded:
    """Load the task's base with a fresh adapter, with a copy of the one it goes on from, or whole.

    Raises:
        InvalidInput: The recipe asks for what this machine does not have.
    """
    recipe = task.recipe
    tokenizer = AutoTokenizer.from_pretrained(task.base, local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    stored = _stored_type(task.base)
    arithmetic = _arithmetic(recipe, stored)
    torch.manual_seed(recipe.seed)  # A reward model's head begins at random too.
    model = _whole(task, arithmetic)
    _never_repack(model)
    model.config.use_cache = False
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    if recipe.adapts:
        torch.manual_seed(recipe.seed)
        model = _with_adapter(model, task)
        _skip_casts(model)
    trained = {name: p.data for name, p in model.named_parameters() if p.requires_grad}
    half, fp16 = arithmetic == torch.bfloat16, arithmetic == torch.float16
    return Loaded(model, tokenizer, half, stored, fp16, trained if recipe.method == "qlora" else {})


def save(loaded: Loaded, model: Any, path: Path) -> int:
    """Write what was trained to ``path``; returns the number of its parameters."""
    if isinstance(model, PeftModel):
        model.save_pretrained(path)
        return sum(p.numel() for p in model.parameters() if p.requires_grad)
    # Off while it was trained; whoever serves it wants it on.
    model.config.use_cache = True
    model.to(loaded.stored).save_pretrained(path)
    loaded.tokenizer.save_pretrained(path)
    return int(model.num_parameters())


def save_sharded(loaded: Loaded, trainer: Any, path: Path) -> int:
    """Gather cut-up weights from every process and write them; called by all of them. Unproven on GPUs."""
    trainer.save_model(str(path))
    if ranks.first():
        # A pickle, which the registry would refuse.
        (path / "training_args.bin").unlink(missing_ok=True)
    if ranks.first() and not isinstance(loaded.model, PeftModel):
        loaded.tokenizer.save_pretrained(path)
    return sum(p.numel() for p in loaded.model.parameters() if p.requires_grad)


def restore(model: Any, checkpoint: Path) -> None:
    """Put the weights of a checkpoint into ``model`` (without any wrapper of several processes)."""
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_peft_weights(str(checkpoint), device="cpu"))
    elif (checkpoint / _SINGLE_FILE).exists():
        load_model(model, checkpoint / _SINGLE_FILE)
    else:
        model.load_state_dict(type(model).from_pretrained(checkpoint, dtype=model.dtype).state_dict())


def parameter_groups(model: Any, recipe: Recipe) -> list[dict[str, Any]]:
    """What an AdamW optimizer is given: the trained parameters by rate and by weight decay.

    With LoRA+ (Hayou et al. 2024, arXiv 2402.12354) the B matrices, which begin at zero, learn
    ``lora.plus_ratio`` times as fast as the A matrices. Vectors (norms, biases) do not decay. The first
    group's rate is the recipe's own, which is what the curve shows.
    """
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            ratio = recipe.lora.plus_ratio if recipe.adapts and "lora_B" in name else 1.0
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((ratio, decay), []).append(parameter)
    return [
        {"params": groups[key], "lr": recipe.learning_rate * key[0], "weight_decay": key[1]}
        for key in sorted(groups, key=lambda key: (key[0], -key[1]))
    ]


def _stored_type(base: Path) -> torch.dtype:
    stored = AutoConfig.from_pretrained(base, local_files_only=True).dtype
    return stored if isinstance(stored, torch.dtype) else torch.float32


def _arithmetic(recipe: Recipe, stored: torch.dtype) -> torch.dtype:
    if recipe.dtype == "fp16":
        if not torch.cuda.is_available():
            raise InvalidInput(
                "dtype: fp16 needs a GPU, and there is none here.", "Take dtype: bf16, auto or fp32."
            )
        return torch.float16
    half = recipe.dtype == "bf16" or (recipe.dtype == "auto" and stored in _LOW)
    return torch.bfloat16 if half else torch.float32


def _whole(task: TrainTask, arithmetic: torch.dtype) -> Any:
    recipe = task.recipe
    options: dict[str, Any] = {
        "dtype": arithmetic if recipe.adapts else torch.float32,
        "attn_implementation": attention(recipe, arithmetic),
        "local_files_only": True,
    }
    if recipe.method == "qlora":
        options["quantization_config"] = _packed(arithmetic)
    if recipe.STAGE is Stage.REWARD:
        options["num_labels"] = 1
        return AutoModelForSequenceClassification.from_pretrained(task.base, **options)
    return AutoModelForCausalLM.from_pretrained(task.base, **options)


def attention(recipe: Recipe, arithmetic: torch.dtype) -> str | None:
    """What transformers calls the attention that a recipe asks for; None leaves it the choice.

    Raises:
        InvalidInput: Flash attention is asked for where it cannot run.
    """
    able = find_spec("flash_attn") is not None and torch.cuda.is_available() and arithmetic in _LOW
    if recipe.attention == "flash" and not able:
        raise InvalidInput(
            "attention: flash needs a GPU, the package flash-attn and dtype: bf16 or fp16.",
            "Take attention: auto, which uses it where it can.",
        )
    if recipe.attention == "auto":
        return "flash_attention_2" if able else None
    return "flash_attention_2" if recipe.attention == "flash" else recipe.attention


def _packed(arithmetic: torch.dtype) -> BitsAndBytesConfig:
    # NF4 with its scales packed once more, as in the QLoRA paper (Dettmers et al. 2023, arXiv 2305.14314).
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=arithmetic,
    )


def _never_repack(model: Any) -> None:
    # On processors with AVX512-BF16, bitsandbytes puts the weights into another layout at the first
    # evaluation, and computes from then on without gradients: what follows would train hardly anything.
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _with_adapter(model: Any, task: TrainTask) -> Any:
    if task.adapter is not None:
        adapted = PeftModel.from_pretrained(model, str(task.adapter), is_trainable=True)
        _set_dropout(adapted, task.recipe.lora.dropout)
        return adapted
    return get_peft_model(model, _lora(task.recipe))


def _lora(recipe: Recipe) -> LoraConfig:
    lora = recipe.lora
    scores = recipe.STAGE is Stage.REWARD
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_dora=lora.dora,
        target_modules="all-linear" if lora.targets == "all-linear" else _ATTENTION,
        task_type=TaskType.SEQ_CLS if scores else TaskType.CAUSAL_LM,
        modules_to_save=["score"] if scores else None,
    )


def _set_dropout(model: Any, share: float) -> None:
    for name, module in model.named_modules():
        if "lora_dropout." in name and isinstance(module, torch.nn.Dropout):
            module.p = share


def _skip_casts(model: Any) -> None:
    # peft casts each adapter's input to float32, and autocast casts it straight back to bfloat16.
    # Measured on 2 cores with the embedded model: 391 tokens/s with the two casts, 441 without.
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
