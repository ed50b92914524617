"""The training loop: any stage, any number of processes, on Hugging Face accelerate."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, gather_object, parse_flag_from_env, patch_environment
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from smartedit.config.training import Precision, StageName, TrainingConfig
from smartedit.seeding import seed_from
from smartedit.training.caching import EncoderCache
from smartedit.training.engines import AccelerateEngine, Engine
from smartedit.training.journal import Journal
from smartedit.training.loading import micro_batches
from smartedit.training.saving import CheckpointFolder, TrainingState, full_disk_in_plain
from smartedit.training.sharding import assemble, gathered, joined, like, local, whole, whole_tree
from smartedit.training.trainee import Trainee
from smartedit.training.visits import MicroBatch, Positions, VisitDataset
from smartedit.training.zero import FLAG, ZeroEngine


class DivergedError(ValueError):
    """A loss or gradient is no number; names the step and the rows."""


def build_accelerator(training: TrainingConfig) -> Accelerator:
    """The processes and the precision of a run; the devices are those that `accelerate launch` gives.

    accelerate is not told of DeepSpeed, which it drives on accelerators only: processes and autocast are as without it,
    and `ZeroEngine` does the rest on CPUs as on GPUs.
    """
    # accelerate keeps one state a process and refuses another precision; a process may train several stages.
    AcceleratorState._reset_state()
    with patch_environment(**{FLAG: "false"}):
        return Accelerator(
            mixed_precision="bf16" if training.mixed_precision is Precision.BFLOAT16 else "no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=training.gradient_accumulation,
                # Shared weights: gradients of every pass are shared too, or each process would hold them whole.
                sync_each_batch=parse_flag_from_env("ACCELERATE_USE_FSDP"),
            ),
        )


@dataclass(kw_only=True)
class Loop:
    """One run of one stage.

    Attributes:
        stage: Which; no two draw the same noise for a row.
        trainee: What is trained.
        training: Settings.
        accelerator: Processes and precision.
        checkpoints: Where the run's states are.
        journal: Where it is logged.
        cache: Of the frozen encoders, or None.
        zero: DeepSpeed's settings, or None where it takes no part.
        validate: Called with the number of steps done, when edits are to be shown; on the first process only.
    """

    stage: StageName
    trainee: Trainee
    training: TrainingConfig
    accelerator: Accelerator
    checkpoints: CheckpointFolder
    journal: Journal
    cache: EncoderCache | None = None
    zero: Mapping[str, Any] | None = None
    validate: Callable[[int], None] | None = None

    def run(self, model_folder: Path) -> None:
        """Train from the newest checkpoint, or from the start, to the last step; write the model then.

        Raises:
            CheckpointError: The checkpoint is of another run.
            DivergedError: A loss is no number.
            ShardingError: The processes are to share the model in a way that is not supported.
            UnreadableRowsError: Too many rows cannot be read.
        """
        settings, accelerator = self.training, self.accelerator
        state = self.checkpoints.newest()
        first = 0 if state is None else state.step
        if state is not None:
            self._put_back(state)
        engine = self._engine()
        schedule = get_scheduler(
            "constant_with_warmup" if settings.schedule == "constant" else settings.schedule.value,
            engine.optimizer,
            num_warmup_steps=settings.warmup_steps,
            num_training_steps=settings.steps,
        )
        parameters = list(self.trainee.trained.values())
        # Averages need no other process: each averages what it has of the weights; frozen ones would only be copied.
        parts = [local(parameter).requires_grad_() for parameter in parameters]
        ema = EMAModel(parts, decay=settings.ema_decay) if settings.ema_decay else None
        if state is not None:
            engine.put_back(state.optimizer)
            schedule.load_state_dict(state.schedule)
            if ema is not None and state.ema is not None:
                averages = zip(state.ema["shadow_params"], parameters, strict=True)
                ema.load_state_dict({**state.ema, "shadow_params": [local(like(a, p)) for a, p in averages]})
                ema.to(parts[0].device)
        self.journal.resume(first, None if state is None else state.journal)
        del state
        self.trainee.train_mode()
        batches = self._batches(first)
        for step in range(first, settings.steps):
            # Dropout draws from the global generator; it starts anew in each step, so that a resume changes nothing.
            torch.manual_seed(seed_from("dropout", self.stage.value, settings.seed, step, accelerator.process_index))
            started = time.perf_counter()
            passes = [next(batches) for _ in range(settings.gradient_accumulation)]
            waited = time.perf_counter() - started
            self.journal.leave_out(self._everyone([u for micro in passes for u in micro.unreadable]))
            values = self._step(step, engine, passes)
            values["learning_rate"] = schedule.get_last_lr()[0]
            schedule.step()
            if ema is not None:
                ema.step(parts)
            seconds = time.perf_counter() - started
            rows = settings.batch_size * settings.gradient_accumulation * accelerator.num_processes
            values |= {"seconds": seconds, "waited": waited, "samples_per_second": rows / seconds}
            self.journal.record(step + 1, settings.steps, values)
            last = step + 1 == settings.steps
            if last or (step + 1) % settings.checkpoint_every == 0:
                self._save(step + 1, engine, schedule, ema)
            if self.validate and settings.validate_every and (last or (step + 1) % settings.validate_every == 0):
                with _averaged(ema, parts), accelerator.autocast():
                    self._show(step + 1)
                self.trainee.train_mode()
        with _averaged(ema, parts):
            if self._shares:
                assemble(self.trainee.module, keep=accelerator.is_main_process)
            with full_disk_in_plain(model_folder):
                self._on_first(lambda: self.trainee.save(model_folder))

    @property
    def _shares(self) -> bool:
        """Whether each process has a part of the weights only."""
        return isinstance(self.trainee.module, FSDPModule)

    def _engine(self) -> Engine:
        """What makes the steps, for as many processes as there are."""
        if self.zero is not None:
            return ZeroEngine(self.zero, self.trainee, self.training, self.accelerator)
        return AccelerateEngine(self.trainee, self.training, self.accelerator)

    def _batches(self, first: int) -> Iterator[MicroBatch]:
        settings = self.training
        dataset = VisitDataset(
            self.trainee.rows,
            latents=self.trainee.latents,
            seed=seed_from("noise", self.stage.value, settings.seed),
            cache=self.cache,
        )
        positions = Positions(
            first_step=first,
            steps=settings.steps,
            passes=settings.gradient_accumulation,
            batch_size=settings.batch_size,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
        )
        return micro_batches(dataset, positions, num_workers=settings.num_workers)

    def _step(self, step: int, engine: Engine, passes: list[MicroBatch]) -> dict[str, float]:
        """One step of the optimizer, over all passes and processes."""
        accelerator, device = self.accelerator, self.accelerator.device
        batches = [micro.batch.to(device) for micro in passes]
        labels = torch.tensor(float(sum(self.trainee.count_labels(batch) for batch in batches)), device=device)
        # The mean over the labelled tokens of all rows of the step, however they are divided.
        share = float(accelerator.reduce(labels, "sum")) / (len(passes) * accelerator.num_processes)
        sums: dict[str, Tensor] = {}
        suspicious: list[str] = []
        norm = 0.0
        for micro, batch in zip(passes, batches, strict=True):
            with engine.one_pass():
                draws = None if micro.draws is None else micro.draws.to(device)
                seen = None
                if self.cache is not None:
                    seen = self.cache.complete(batch, micro.keys, micro.kept, device)
                with accelerator.autocast():
                    parts = self.trainee.losses(engine.module, batch, draws, seen, share)
                loss = torch.stack(list(parts.values())).sum()
                if not bool(loss.isfinite()):
                    suspicious += micro.example_ids
                for name, part in parts.items():
                    sums[name] = sums.get(name, torch.zeros((), device=device)) + part.detach().float()
                engine.backward(loss)
                if engine.ends_step:
                    self._refuse_divergence(step, suspicious, "the loss")
                    norm = engine.step()
                    if not math.isfinite(norm):
                        self._refuse_divergence(step, [i for m in passes for i in m.example_ids], "the gradient")
        means = accelerator.reduce(torch.stack(list(sums.values())) / len(passes), "mean").tolist()
        values = dict(zip(sums, means, strict=True))
        return {"loss": sum(means), **values, "gradient_norm": norm}

    def _refuse_divergence(self, step: int, example_ids: list[str], what: str) -> None:
        everyone = self._everyone(example_ids)
        if not everyone:
            return
        raise DivergedError(
            f"step {step + 1}: {what} is no number; rows: {', '.join(everyone)}. If other rows do it too, the learning "
            f"rate ({self.training.learning_rate:g}) is too high: lower it and name another --run"
        )

    def _everyone(self, items: list[Any]) -> list[Any]:
        """What all processes have, in the order of the processes."""
        if self.accelerator.num_processes == 1:
            return items
        gathered: list[Any] = gather_object(items)
        return gathered

    def _put_back(self, state: TrainingState) -> None:
        with torch.no_grad():
            for name, parameter in self.trainee.trained.items():
                parameter.copy_(state.weights[name])
            for name, buffer in self._buffers().items():
                buffer.copy_(state.buffers.get(name, buffer))

    def _buffers(self) -> dict[str, Tensor]:
        """What the trained parts keep besides their parameters, such as the random directions of BIM's positions."""
        module = self.trainee.module
        parts = {name.partition(".")[0] for name in self.trainee.trained}
        kept = module.state_dict().keys()
        return {n: b for n, b in module.named_buffers() if n in kept and n.partition(".")[0] in parts}

    def _save(self, step: int, engine: Engine, schedule: Any, ema: EMAModel | None) -> None:
        trained, keep = self.trainee.trained, self.accelerator.is_main_process
        averages = None
        if ema is not None:
            averages = ema.state_dict()
            pairs = zip(averages["shadow_params"], trained.values(), strict=True)
            averages["shadow_params"] = [whole(joined(a, p), keep=keep) for a, p in pairs]
        state = TrainingState(
            step=step,
            weights=whole_tree(trained, keep=keep),
            optimizer=engine.state(keep=keep),
            schedule=schedule.state_dict(),
            ema=averages,
            journal=self.journal.state(),
            buffers=whole_tree(self._buffers(), keep=keep),
        )
        self._on_first(lambda: self.checkpoints.save(state))

    def _show(self, step: int) -> None:
        """Let edits be made; by all processes where each has a part of the weights."""
        assert self.validate is not None
        if self._shares:
            with gathered(self.trainee.module):
                self.validate(step)
            self.accelerator.wait_for_everyone()
        else:
            self._on_first(lambda: self.validate(step))  # type: ignore[misc]

    def _on_first(self, action: Callable[[], Any]) -> None:
        """Let the first process do something while the others wait."""
        if self.accelerator.is_main_process:
            action()
        self.accelerator.wait_for_everyone()


@contextmanager
def _averaged(ema: EMAModel | None, parameters: Sequence[Tensor]) -> Iterator[None]:
    """Within it the parameters are their averages, where there are averages."""
    if ema is None:
        yield
        return
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        yield
    finally:
        ema.restore(parameters)
