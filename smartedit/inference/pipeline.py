"""SmartEdit as a pipeline of diffusers: pictures and instructions in, edited pictures out."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor

from smartedit.hub import fetch_model
from smartedit.inference.call import check_output, read_call
from smartedit.inference.conditioning import Reader, Reading, ReadingCache
from smartedit.inference.output import SmartEditPipelineOutput
from smartedit.inference.sampling import Guidance, denoise
from smartedit.model.bim import Bim
from smartedit.model.checkpoints import check_checkpoint
from smartedit.model.images import autoencoder_pixels, keep_unedited, to_pictures, trained_size
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.prompts import OUR_PROMPTS, Phrasing, Prompts
from smartedit.model.qformer import QFormer
from smartedit.model.smartedit import connect
from smartedit.model.text import EmptyText
from smartedit.model.tokenizer import VocabularyError, read_layout
from smartedit.model.unet import SmartEditUNet

StepCallback = Callable[["SmartEditPipeline", int, Any, dict[str, Tensor]], dict[str, Tensor]]


class SmartEditPipeline(DiffusionPipeline):
    """Edits pictures (paper, section 4); loading, saving, `to`, offloading and schedulers are those of diffusers."""

    model_cpu_offload_seq = "mllm->qformer->bim->unet->vae"
    _exclude_from_cpu_offload = ("empty_text",)
    _optional_components: ClassVar[list[str]] = ["bim"]  # diffusers adds it to a list
    _callback_tensor_inputs = ("latents",)

    def __init__(
        self,
        mllm: ImageTextMllm,
        tokenizer: Any,
        qformer: QFormer,
        bim: Bim | None,
        unet: SmartEditUNet,
        vae: AutoencoderKL,
        scheduler: Any,
        empty_text: EmptyText,
        num_img_tokens: int = 32,
        max_text_tokens: int = 256,
        image_size: int = 256,
        num_inference_steps: int = 100,
        guidance_scale: float = 7.5,
        image_guidance_scale: float = 1.5,
        system: str = OUR_PROMPTS.system,
        request: str = OUR_PROMPTS.phrasings[0].request,
        answer: str = OUR_PROMPTS.phrasings[0].answer,
    ) -> None:
        """Put parts together.

        Args:
            mllm: The language model.
            tokenizer: With the added tokens.
            qformer: Q_beta.
            bim: The interaction module, or None.
            unet: The denoiser.
            vae: The autoencoder.
            scheduler: Any of diffusers' that steps on its own.
            empty_text: Features of the empty text.
            num_img_tokens: r.
            max_text_tokens: Longest conversation in tokens, picture not counted.
            image_size: Side of the trained square in pixels.
            num_inference_steps: Denoising steps where a call does not say.
            guidance_scale: s_T where a call does not say.
            image_guidance_scale: s_I where a call does not say.
            system: System text that the model was trained with.
            request: Request that it was trained with, `[cap]` where picture and instruction go.
            answer: Answer that it was trained with, ending in ` [img].`.

        Raises:
            VocabularyError: Tokenizer and model disagree.
        """
        super().__init__()
        self.register_modules(
            mllm=mllm,
            tokenizer=tokenizer,
            qformer=qformer,
            bim=bim,
            unet=unet,
            vae=vae,
            scheduler=scheduler,
            empty_text=empty_text,
        )
        self.register_to_config(
            num_img_tokens=num_img_tokens,
            max_text_tokens=max_text_tokens,
            image_size=image_size,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
            system=system,
            request=request,
            answer=answer,
        )
        self.layout = read_layout(tokenizer, num_img_tokens)
        if mllm.vocab_size < self.layout.vocab_size:
            raise VocabularyError(
                f"the tokenizer has {self.layout.vocab_size} tokens, the language model {mllm.vocab_size} rows: "
                f"they belong to different models, or the {3 + num_img_tokens} added tokens were not given rows"
            )
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.readings = ReadingCache()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> "SmartEditPipeline":
        """Load a checkpoint as in diffusers; its files are compared with its configurations before.

        Raises:
            CheckpointError: A shard or weight is missing or misshapen, or parts of different sizes are mixed.
            ModelNotFoundError: There is no such folder, and a hub name cannot be had.
        """
        # By name, diffusers refuses parts whose classes are in another package; from a folder it takes them.
        options = {k: kwargs.pop(k) for k in ("revision", "token", "force_download", "local_files_only") if k in kwargs}
        folder = fetch_model(pretrained_model_name_or_path, cache=kwargs.pop("cache_dir", None), **options)
        check_checkpoint(folder)
        pipeline: SmartEditPipeline = super().from_pretrained(folder, **kwargs)
        return pipeline

    @torch.no_grad()
    def __call__(
        self,
        image: Image.Image | Sequence[Image.Image],
        instruction: str | Sequence[str],
        *,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        image_guidance_scale: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
        square: bool = False,
        keep_original: bool = False,
        speak: bool = False,
        eta: float | None = None,
        output_type: str = "pil",
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        return_dict: bool = True,
    ) -> SmartEditPipelineOutput | tuple[list[Image.Image] | Tensor]:
        """Edit pictures.

        Args:
            image: A picture or a batch; each is turned as its EXIF note says.
            instruction: What to change; one text for all pictures, or one for each.
            num_inference_steps: Denoising steps.
            guidance_scale: s_T, the strength of the instruction.
            image_guidance_scale: s_I, the strength of the source picture.
            generator: One for all draws, or one for each picture, which makes a picture independent of its batch.
            latents: Noise to start from, [B, 4, h, w], instead of drawn noise.
            square: Squash every picture into the trained square, as the released code does; otherwise the aspect
                ratio is kept at the square's area.
            keep_original: Put the original back where little changed (compositing; the output says so).
            speak: Let the model answer freely first and give the answer back; slower.
            eta: For schedulers that know it.
            output_type: `pil`, or `latent` for a batch of equal sizes.
            callback_on_step_end: Called with pipeline, step, timestep and `{"latents": ...}`; gives them back.
            callback_on_step_end_tensor_inputs: What the callback sees; there are only the latents.
            return_dict: False for a plain tuple of the pictures.

        Returns:
            Edited pictures of their sources' sizes.

        Raises:
            PictureError: A picture is too small or too narrow.
            PromptError: An instruction is empty or too long.
            SamplingError: The latents are not finite.
            ValueError: Numbers of pictures, instructions and generators differ, or an option is not known or no number.
        """
        call = read_call(image, instruction, generator)
        sources, generators = call.sources, call.generators
        unknown = set(callback_on_step_end_tensor_inputs) - set(self._callback_tensor_inputs)
        if unknown:
            raise ValueError(f"callbacks see {', '.join(self._callback_tensor_inputs)}, not {', '.join(unknown)}")
        settings = self.config
        guidance = Guidance(
            scale=settings.guidance_scale if guidance_scale is None else guidance_scale,
            image_scale=settings.image_guidance_scale if image_guidance_scale is None else image_guidance_scale,
        )
        steps = settings.num_inference_steps if num_inference_steps is None else num_inference_steps
        if steps < 1:
            raise ValueError(f"num_inference_steps={steps}: at least one step is needed")
        step = self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        sizes = [trained_size(*s.size, settings.image_size, square=square, step=step) for s in sources]
        check_output(output_type, sizes)
        readings = self.read(sources, call.instructions, speak=speak)
        finished: dict[int, Tensor] = {}
        for size in dict.fromkeys(sizes):
            rows = [i for i, other in enumerate(sizes) if other == size]
            results = self._edit_equal_sizes(
                [sources[i] for i in rows],
                [readings[i] for i in rows],
                size,
                guidance,
                steps,
                generators if not isinstance(generators, list) else [generators[i] for i in rows],
                None if latents is None else latents[rows],
                callback_on_step_end,
                eta,
            )
            finished.update(zip(rows, results, strict=True))
        images = self._finish(sources, [finished[i] for i in range(len(sources))], output_type, keep_original)
        self.maybe_free_model_hooks()
        composited = keep_original and output_type == "pil"
        answers, agreements = [r.answer for r in readings], [r.agreement for r in readings]
        output = SmartEditPipelineOutput(images=images, answers=answers, agreements=agreements, composited=composited)
        return output if return_dict else (images,)

    def read(
        self, sources: Sequence[Image.Image], instructions: Sequence[str], *, speak: bool = False
    ) -> list[Reading]:
        """H and v of upright pictures and instructions; those read before come from the cache."""
        reader = Reader(
            mllm=self.mllm,
            tokenizer=self.tokenizer,
            layout=self.layout,
            prompts=Prompts(
                system=self.config.system,
                phrasings=(Phrasing(request=self.config.request, answer=self.config.answer),),
            ),
            max_tokens=self.config.max_text_tokens,
            device=self._execution_device,
            prefixes=self.readings.prefixes,
        )
        variant = (speak, self.mllm.dtype, self.config.system, self.config.request, self.config.answer)
        return self.readings.read(reader, sources, instructions, variant=variant, speak=speak)

    def _edit_equal_sizes(
        self,
        sources: list[Image.Image],
        readings: list[Reading],
        size: tuple[int, int],
        guidance: Guidance,
        steps: int,
        generator: torch.Generator | list[torch.Generator] | None,
        latents: Tensor | None,
        callback: StepCallback | None,
        eta: float | None,
    ) -> Tensor:
        """Latents of one batch whose pictures are edited at one size."""
        device = self._execution_device
        height, width = size[1] // self.vae_scale_factor, size[0] // self.vae_scale_factor
        conditions = connect(
            self.qformer,
            self.bim,
            torch.stack([r.hidden_states for r in readings]).to(device),
            torch.stack([r.image_features for r in readings]).to(device),
            latent_size=(height, width),
        )
        pixels = autoencoder_pixels(sources, size).to(device, self.vae.dtype)
        image_latents = self.vae.encode(pixels).latent_dist.mode().float()
        self.scheduler.set_timesteps(steps, device=device)
        shape = (len(sources), self.vae.config.latent_channels, height, width)
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=torch.float32)
        elif latents.shape != shape:
            raise ValueError(f"latents are {tuple(latents.shape)}, these pictures need {shape}")
        with self.progress_bar(total=steps) as progress:

            def on_step(step: int, timestep: Any, now: Tensor) -> Tensor:
                progress.update()
                return now if callback is None else callback(self, step, timestep, {"latents": now})["latents"]

            return denoise(
                self.unet,
                self.scheduler,
                latents=latents.to(device, torch.float32) * self.scheduler.init_noise_sigma,
                image_latents=image_latents,
                conditions=conditions,
                empty_text=self.empty_text(1).to(device),
                guidance=guidance,
                generator=generator,
                on_step=on_step,
                eta=eta,
            )

    def _finish(
        self, sources: list[Image.Image], latents: list[Tensor], output_type: str, keep_original: bool
    ) -> list[Image.Image] | Tensor:
        if output_type == "latent":
            return torch.stack(latents)
        images: list[Image.Image] = []
        for source, latent in zip(sources, latents, strict=True):
            scaled = (latent / self.vae.config.scaling_factor).to(self.vae.dtype)
            edited = to_pictures(self.vae.decode(scaled[None]).sample)[0]
            if keep_original:
                images.append(keep_unedited(source, edited))
            else:
                images.append(edited.resize(source.size, Image.Resampling.BICUBIC))
        return images
