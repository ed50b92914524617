"""Pipelines of diffusers that take a picture and a prompt and are no editors here, by the reason."""

from collections.abc import Mapping

NOT_EDITORS: Mapping[str, tuple[str, ...]] = {
    "takes the mask, which is the evaluator's": (
        "FluxKontextInpaintPipeline",
        "Flux2KleinInpaintPipeline",
        "QwenImageEditInpaintPipeline",
    ),
    "learns the task from example pairs, which the benchmark does not have": (
        "VisualClozePipeline",
        "VisualClozeGenerationPipeline",
    ),
    "inverts the picture and takes concepts, not an instruction": (
        "LEditsPPPipelineStableDiffusion",
        "LEditsPPPipelineStableDiffusionXL",
    ),
    "makes or edits clips": (
        "LucyEditPipeline",
        "SanaImageToVideoPipeline",
        "SanaWMPipeline",
        "WanAnimatePipeline",
    ),
    "draws after a control map (edges, depth), not after a picture": (
        "StableDiffusionAdapterPipeline",
        "StableDiffusionXLAdapterPipeline",
        "StableDiffusionControlNetPipeline",
        "StableDiffusionControlNetPAGPipeline",
        "StableDiffusionXLControlNetPipeline",
        "StableDiffusionXLControlNetPAGPipeline",
    ),
    "makes variations in the manner of a picture, its prompt describes the result": (
        "FluxPriorReduxPipeline",
        "StableCascadeCombinedPipeline",
        "StableCascadePriorPipeline",
        "StableUnCLIPImg2ImgPipeline",
    ),
    "enlarges or refines": (
        "HunyuanImageRefinerPipeline",
        "IFSuperResolutionPipeline",
        "OnnxStableDiffusionUpscalePipeline",
        "StableDiffusionLatentUpscalePipeline",
        "StableDiffusionUpscalePipeline",
    ),
    "takes a picture apart into layers": ("QwenImageLayeredPipeline",),
    "answers in words": ("DiffusionGemmaPipeline",),
}
"""A test reads the installed diffusers and fails on a class that stands neither here nor in the table."""
