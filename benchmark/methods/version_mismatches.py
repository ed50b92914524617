"""Where an installed diffusers and an installed transformers disagree about a pipeline, and what reconciles them."""

from typing import Any


def take_codes_of_one_picture(pipeline: Any) -> None:
    """Let GLM-Image's language model code the picture that diffusers hands it.

    diffusers 0.42 joins the features of all pictures to one tensor. transformers since 5.x takes a list with one
    tensor [channels, height, width] a picture, and went through that tensor's channels as if they were pictures.
    Here there is one picture a call, so that the joined tensor is the picture's own.

    Args:
        pipeline: A loaded `GlmImagePipeline`.
    """
    model = pipeline.vision_language_encoder
    code = model.get_image_tokens

    def get_image_tokens(hidden_states: Any, image_grid_thw: Any = None) -> Any:
        one = hasattr(hidden_states, "ndim") and hidden_states.ndim == 3
        return code([hidden_states] if one else hidden_states, image_grid_thw)

    model.get_image_tokens = get_image_tokens
