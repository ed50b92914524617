"""The editing pipelines of diffusers as data: one row a method, and nothing about them anywhere else.

Steps and guidance are those of the example in diffusers' documentation of the class, or else its defaults; the hub ids
are from there too. Licences and sizes are what the makers announced; both are to be checked on the model's page before
use, as this file was written without a network. No revision is pinned where none was seen: `--set NAME.revision=COMMIT`
pins one for a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ResolutionPolicy = Literal["area", "square", "native", "own"]
"""As in `resolution.py`; "own" hands the picture over as it is, and the pipeline scales all of it to its own size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditingPipeline:
    """How one diffusers pipeline wants to be called with a picture and an instruction.

    Attributes:
        name: What `--method` takes.
        summary: One line.
        pipeline: The class in diffusers.
        model: Hub id of the checkpoint that is meant by default; None where none is known.
        revision: Of the hub id; None where no commit was seen.
        license: As announced by the makers.
        billions: Parameters of all parts together, in 10^9, as announced; None where unknown. In bfloat16 they take
            twice as many GB.
        gated: Whether the hub wants its licence accepted first.
        steps: Denoising steps.
        guidance: Text guidance; None where the class takes none.
        guidance_argument: What the class calls it.
        image_guidance: Image guidance; None where the class takes none.
        image_guidance_argument: What the class calls it.
        resolution: How a picture comes to the trained size.
        side: The trained area is side x side pixels.
        multiple: What width and height must be multiples of.
        buckets: Where the class keeps the only sizes it works at; pictures are squashed to the one of the nearest
            aspect before, so that it never crops.
        sized: Whether the call takes height and width.
        area_argument: Takes width x height.
        longest_argument: Takes the longer side.
        image_argument: What the class calls the picture.
        image_form: "one" picture (a list of them in a batch), or a "list" of the references of this one prompt.
        prompt: The prompt; `{instruction}` stands for the instruction, `{quoted}` for it as JSON text.
        call: More arguments of the call.
        load: More arguments of `from_pretrained`.
        float32_parts: Parts that stay float32 whatever the type of the others.
        output: Where the class puts its pictures; of clips ("frames") the last frame is the edited picture.
        batched: Whether one call edits several pictures, each with its own prompt and generator. No class that draws
            from the global generator (OmniGen, JoyImage) or adapts to its neighbours in a batch is called so.
        remark: What else a user should know.
    """

    name: str
    summary: str
    pipeline: str
    model: str | None
    revision: str | None = None
    license: str
    billions: float | None = None
    gated: bool = False
    steps: int
    guidance: float | None = None
    guidance_argument: str = "guidance_scale"
    image_guidance: float | None = None
    image_guidance_argument: str = "image_guidance_scale"
    resolution: ResolutionPolicy = "area"
    side: int = 1024
    multiple: int = 16
    buckets: Literal["resolutions", "vae_image_processor", "image_processor"] | None = None
    sized: bool = True
    area_argument: str | None = None
    longest_argument: str | None = None
    image_argument: str = "image"
    image_form: Literal["one", "list"] = "one"
    prompt: str = "{instruction}"
    call: Mapping[str, Any] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)
    float32_parts: tuple[str, ...] = ()
    output: Literal["images", "image", "frames"] = "images"
    batched: bool = False
    remark: str = ""


FLUX_LICENSE = "FLUX non-commercial"
QWEN_NEGATIVE = {"negative_prompt": " "}

EDITING_PIPELINES: tuple[EditingPipeline, ...] = (
    EditingPipeline(
        name="sdxl-instruct-pix2pix",
        summary="InstructPix2Pix on Stable Diffusion XL.",
        pipeline="StableDiffusionXLInstructPix2PixPipeline",
        model="diffusers/sdxl-instructpix2pix-768",
        license="OpenRAIL++",
        billions=3.5,
        steps=30,
        guidance=3.0,
        image_guidance=1.5,
        side=768,
        multiple=8,
        batched=True,
    ),
    EditingPipeline(
        name="cosxl-edit",
        summary="CosXL-Edit: SD-XL InstructPix2Pix with the EDM schedule.",
        pipeline="StableDiffusionXLInstructPix2PixPipeline",
        model="stabilityai/cosxl",
        license="Stability AI non-commercial",
        billions=3.5,
        gated=True,
        steps=20,
        guidance=5.0,
        image_guidance=1.5,
        multiple=8,
        load={"is_cosxl_edit": True},
        batched=True,
        remark="its page holds one file; make a diffusers folder of it once (docs/methods.md) and give it by --model",
    ),
    EditingPipeline(
        name="flux-kontext",
        summary="FLUX.1 Kontext [dev].",
        pipeline="FluxKontextPipeline",
        model="black-forest-labs/FLUX.1-Kontext-dev",
        license=FLUX_LICENSE,
        billions=17,
        gated=True,
        steps=28,
        guidance=2.5,
        area_argument="max_area",
        call={"_auto_resize": False},
        batched=True,
        remark="works at the size of its output, not at the nearest preferred resolution, so that nothing is stretched",
    ),
    EditingPipeline(
        name="flux2",
        summary="FLUX.2 [dev].",
        pipeline="Flux2Pipeline",
        model="black-forest-labs/FLUX.2-dev",
        license=FLUX_LICENSE,
        billions=56,
        gated=True,
        steps=50,
        guidance=4.0,
        image_form="list",
    ),
    EditingPipeline(
        name="flux2-klein",
        summary="FLUX.2 [klein] 9B, the base model.",
        pipeline="Flux2KleinPipeline",
        model="black-forest-labs/FLUX.2-klein-base-9B",
        license=FLUX_LICENSE,
        billions=17,
        gated=True,
        steps=50,
        guidance=4.0,
        image_form="list",
    ),
    EditingPipeline(
        name="flux2-klein-kv",
        summary="FLUX.2 [klein] 9B distilled to four steps, with cached references.",
        pipeline="Flux2KleinKVPipeline",
        model="black-forest-labs/FLUX.2-klein-9b-kv",
        license=FLUX_LICENSE,
        billions=17,
        gated=True,
        steps=4,
        image_form="list",
    ),
    EditingPipeline(
        name="qwen-image-edit",
        summary="Qwen-Image-Edit.",
        pipeline="QwenImageEditPipeline",
        model="Qwen/Qwen-Image-Edit",
        license="Apache-2.0",
        billions=28,
        steps=50,
        guidance=4.0,
        guidance_argument="true_cfg_scale",
        resolution="own",
        sized=False,
        call=QWEN_NEGATIVE,
    ),
    EditingPipeline(
        name="qwen-image-edit-plus",
        summary="Qwen-Image-Edit-2509 (Edit-Plus).",
        pipeline="QwenImageEditPlusPipeline",
        model="Qwen/Qwen-Image-Edit-2509",
        license="Apache-2.0",
        billions=28,
        steps=50,
        guidance=4.0,
        guidance_argument="true_cfg_scale",
        resolution="own",
        sized=False,
        image_form="list",
        call=QWEN_NEGATIVE,
    ),
    EditingPipeline(
        name="qwen-image-2.1",
        summary="Qwen-Image 2.1 with a picture as condition.",
        pipeline="QwenImage21Pipeline",
        model="Qwen/Qwen-Image-2.1",
        license="see its page",
        steps=40,
        guidance=4.0,
        guidance_argument="true_cfg_scale",
        resolution="own",
        sized=False,
        image_form="list",
        call=QWEN_NEGATIVE,
    ),
    EditingPipeline(
        name="omnigen",
        summary="OmniGen (v1).",
        pipeline="OmniGenPipeline",
        model="Shitao/OmniGen-v1-diffusers",
        license="MIT",
        billions=3.9,
        steps=50,
        guidance=2.5,
        image_guidance=1.6,
        image_guidance_argument="img_guidance_scale",
        longest_argument="max_input_image_size",
        image_argument="input_images",
        image_form="list",
        prompt="<img><|image_1|></img> {instruction}",
    ),
    EditingPipeline(
        name="longcat-image-edit",
        summary="LongCat-Image-Edit.",
        pipeline="LongCatImageEditPipeline",
        model="meituan-longcat/LongCat-Image-Edit",
        license="Apache-2.0",
        billions=14,
        steps=50,
        guidance=4.5,
        resolution="own",
        sized=False,
        call={"negative_prompt": ""},
    ),
    EditingPipeline(
        name="bria-fibo-edit",
        summary="Bria FIBO-Edit, with the instruction alone in its JSON prompt.",
        pipeline="BriaFiboEditPipeline",
        model="briaai/Fibo-Edit-1.5-base",
        license="Bria non-commercial",
        billions=11,
        gated=True,
        steps=30,
        guidance=5.0,
        prompt='{"edit_instruction": {quoted}}',
        call={"_auto_resize": False},
        remark="trained on long JSON prompts that a second model writes from picture and instruction; that model's "
        "help would be prompt rewriting and is not used here",
    ),
    EditingPipeline(
        name="bria-fibo2",
        summary="Bria FIBO 2.0 with a picture to edit.",
        pipeline="BriaFibo2Pipeline",
        model="briaai/Fibo-2.0-dev",
        license="see its page",
        gated=True,
        steps=30,
        guidance=5.0,
    ),
    EditingPipeline(
        name="joyimage-edit",
        summary="JoyImage-Edit.",
        pipeline="JoyImageEditPipeline",
        model="jdopensource/JoyAI-Image-Edit-Diffusers",
        license="see its page",
        steps=40,
        guidance=4.0,
        resolution="own",
        buckets="vae_image_processor",
        sized=False,
    ),
    EditingPipeline(
        name="joyimage-edit-plus",
        summary="JoyImage-Edit-Plus.",
        pipeline="JoyImageEditPlusPipeline",
        model="jdopensource/JoyAI-Image-Edit-Plus-Diffusers",
        license="see its page",
        steps=30,
        guidance=4.0,
        resolution="own",
        buckets="image_processor",
        sized=False,
        image_argument="images",
        image_form="list",
    ),
    EditingPipeline(
        name="chronoedit",
        summary="ChronoEdit-14B, without its temporal reasoning.",
        pipeline="ChronoEditPipeline",
        model="nvidia/ChronoEdit-14B-Diffusers",
        license="NVIDIA open model",
        billions=21,
        steps=50,
        guidance=5.0,
        side=960,
        call={"num_frames": 5, "enable_temporal_reasoning": False, "output_type": "pil"},
        float32_parts=("vae", "image_encoder"),
        output="frames",
        remark="made for instructions that a language model wrote out at length; here it gets the instruction itself",
    ),
    EditingPipeline(
        name="kandinsky5-edit",
        summary="Kandinsky 5.0 I2I Lite.",
        pipeline="Kandinsky5I2IPipeline",
        model="kandinskylab/Kandinsky-5.0-I2I-Lite-sft-Diffusers",
        license="MIT",
        billions=14,
        steps=50,
        guidance=3.5,
        resolution="own",
        buckets="resolutions",
        output="image",
    ),
    EditingPipeline(
        name="glm-image",
        summary="GLM-Image with a picture as condition.",
        pipeline="GlmImagePipeline",
        model="zai-org/GLM-Image",
        license="MIT",
        billions=16,
        steps=50,
        guidance=1.5,
        multiple=32,
        image_form="list",
    ),
    EditingPipeline(
        name="dreamlite",
        summary="DreamLite, a small editor.",
        pipeline="DreamLitePipeline",
        model="carlofkl/DreamLite-base",
        revision="diffusers",
        license="see its page",
        steps=30,
        guidance=3.5,
        image_guidance=1.5,
        multiple=32,
        remark="the revision is the branch that holds the diffusers folder, not a pinned commit",
    ),
    EditingPipeline(
        name="dreamlite-mobile",
        summary="DreamLite distilled to four steps.",
        pipeline="DreamLiteMobilePipeline",
        model="carlofkl/DreamLite-mobile",
        revision="diffusers",
        license="see its page",
        steps=4,
        multiple=32,
        remark="the revision is the branch that holds the diffusers folder, not a pinned commit",
    ),
    EditingPipeline(
        name="z-image-omni",
        summary="Z-Image Omni with a picture as condition.",
        pipeline="ZImageOmniPipeline",
        model=None,
        license="see its page",
        steps=50,
        guidance=5.0,
        image_form="list",
        remark="no hub id was seen; give a folder or hub id by --model",
    ),
)
"""Every pipeline in diffusers 0.42 that takes a picture and an instruction and nothing else."""

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
"""Pipelines that take a picture and a prompt and are no editors here, by the reason."""
