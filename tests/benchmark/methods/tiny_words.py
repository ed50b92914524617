"""Tokenizers and processors of the real classes over a vocabulary of bytes, made without a network."""

from typing import Any

from transformers import Qwen2Tokenizer, T5TokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

PARTS = (
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{{ IMAGE if part['type'] == 'image' else part['text'] }}{% endfor %}{% endif %}"
)
CHAT_TEMPLATE = (
    "{% set IMAGE = '<|vision_start|><|image_pad|><|vision_end|>' %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n" + PARTS + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = (
    "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip


def qwen_tokenizer(side: str = "right") -> Any:
    letters = ["<|endoftext|>", *bytes_to_unicode().values()]
    return Qwen2Tokenizer(
        vocab={c: i for i, c in enumerate(letters)},
        merges=[],
        additional_special_tokens=list(SPECIAL),
        model_max_length=4096,
        padding_side=side,
        chat_template=CHAT_TEMPLATE,
    )


def t5_tokenizer(length: int = 64) -> Any:
    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -2.0)]
    letters += [(chr(c), -3.0) for c in range(33, 127)]
    return T5TokenizerFast(vocab=letters, extra_ids=0, model_max_length=length)


def vision_ids(tokenizer: Any) -> dict[str, int]:
    """What a vision-language model's configuration says about its special tokens."""
    names = {
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
        "vision_token_id": "<|vision_pad|>",
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}


def qwen_processor(tokenizer: Any) -> Any:
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    pixels = {"shortest_edge": 28 * 28, "longest_edge": 4 * 28 * 28}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=CHAT_TEMPLATE,
    )


def qwen3_processor(tokenizer: Any, patch: int = 14, tokens: int = 4) -> Any:
    """Pictures become at most so many tokens of 2 x 2 patches."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    pixels = {"shortest_edge": (2 * patch) ** 2, "longest_edge": tokens * (2 * patch) ** 2}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=pixels, patch_size=patch),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=CHAT_TEMPLATE,
    )


def tokenizer_with(length: int = 4096, **tokens: str) -> Any:
    """A tokenizer over bytes with special tokens of its own, each under the name that a processor asks for it by."""
    bos = {"bos_token": tokens.pop("bos_token")} if "bos_token" in tokens else {}
    letters = ["<|endoftext|>", *bytes_to_unicode().values()]
    return Qwen2Tokenizer(
        vocab={c: i for i, c in enumerate(letters)},
        merges=[],
        extra_special_tokens=tokens,
        model_max_length=length,
        padding_side="left",
        **bos,
    )


def pixtral_processor() -> Any:
    from transformers import PixtralImageProcessor, PixtralProcessor

    return PixtralProcessor(
        image_processor=PixtralImageProcessor(patch_size=16, size={"longest_edge": 32}),
        tokenizer=tokenizer_with(image_token="[IMG]", image_break_token="[IMG_BREAK]", image_end_token="[IMG_END]"),
        chat_template="{% set IMAGE = '[IMG]' %}{% for message in messages %}["
        + "{{ message['role'] }}]"
        + PARTS
        + "{% endfor %}",
    )


def glm_processor() -> Any:
    from transformers import GlmImageImageProcessor, GlmImageProcessor

    return GlmImageProcessor(
        image_processor=GlmImageImageProcessor(
            patch_size=16, merge_size=1, temporal_patch_size=1, size={"shortest_edge": 32**2, "longest_edge": 2048**2}
        ),
        tokenizer=tokenizer_with(
            bos_token="<|image_start|>",
            image_token="<|image|>",
            image_end_token="<|image_end|>",
            grid_bos_token="<sop>",
            grid_eos_token="<eop>",
        ),
        chat_template="{% set IMAGE = '<|image_start|><|image|><|image_end|>' %}"
        "{% for message in messages %}" + PARTS + "{% endfor %}",
    )


def siglip_processor() -> Any:
    from transformers import Siglip2ImageProcessor

    return Siglip2ImageProcessor(patch_size=16, max_num_patches=16)
