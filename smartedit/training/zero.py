"""DeepSpeed's engine: ZeRO-1 and ZeRO-2, chosen by accelerate's configuration files."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import is_deepspeed_available, parse_flag_from_env, patch_environment
from torch import Tensor

from smartedit.config.training import Precision, TrainingConfig
from smartedit.training.engines import adamw
from smartedit.training.sharding import ShardingError
from smartedit.training.stages import added_rows, token_rows
from smartedit.training.trainee import Trainee

FLAG = "ACCELERATE_USE_DEEPSPEED"
_OURS = {
    "optimizer": "training.STAGE.learning_rate, betas and weight_decay",
    "scheduler": "training.STAGE.schedule and warmup_steps",
    "fp16": "training.STAGE.mixed_precision",
    "bf16": "training.STAGE.mixed_precision",
    "torch_autocast": "training.STAGE.mixed_precision",
}
"""Blocks of DeepSpeed's own file that training's settings decide, with these settings."""
_TAKEN = {"zero_optimization", "steps_per_print", "wall_clock_breakdown"}
_ZERO_TAKEN = {
    "stage",
    "overlap_comm",
    "contiguous_gradients",
    "reduce_scatter",
    "reduce_bucket_size",
    "allgather_bucket_size",
    "allgather_partitions",
    "sub_group_size",
}
"""What is followed of `zero_optimization`: sizes and order of exchanges, which change no result."""
_IDLE: tuple[Any, ...] = (None, False, "auto", "none")
_STATES = ("exp_avg", "exp_avg_sq")


def chosen_zero(training: TrainingConfig, num_processes: int) -> dict[str, Any] | None:
    """DeepSpeed's settings, where accelerate's configuration asks for DeepSpeed; None where it does not.

    What training's own settings decide (batch, passes, clipping, precision, optimizer, schedule) comes from there. A
    file of DeepSpeed's that says something else, or something that was not tried, is refused: overruled in silence, the
    authors' cosine was lost so.

    Args:
        training: The stage's settings.
        num_processes: Processes of the run.

    Raises:
        ShardingError: DeepSpeed is not installed, or is to do what is not supported; names the file and the remedy.
    """
    if not parse_flag_from_env(FLAG):
        return None
    if not is_deepspeed_available():
        raise ShardingError(
            "accelerate's file asks for DeepSpeed, which is not installed: pip install 'smartedit[deepspeed]'; or "
            "launch with zero2-7b.yaml or zero2-13b.yaml of smartedit/presets/accelerate, which need none"
        )
    place, said = _said()
    ours: dict[str, tuple[str, Any]] = {
        "train_micro_batch_size_per_gpu": ("batch_size", training.batch_size),
        "gradient_accumulation_steps": ("gradient_accumulation", training.gradient_accumulation),
        "gradient_clipping": ("max_gradient_norm", training.max_gradient_norm),
    }
    rows = training.batch_size * training.gradient_accumulation * num_processes
    for name, (setting, value) in {**ours, "train_batch_size": ("batch_size x passes x processes", rows)}.items():
        if said.get(name, value) not in ("auto", value):
            raise ShardingError(
                f'{place}: {name} is {said[name]!r}, and training.STAGE.{setting} is {value}; write "auto" there'
            )
    for block, decided in _OURS.items():
        content = said.get(block)
        asks = content.get("enabled", True) if isinstance(content, Mapping) else content
        if asks not in _IDLE:
            raise ShardingError(f"{place}: remove the block {block!r}; {decided} of smartedit decide it")
    _refuse_others(place, said, _TAKEN | _OURS.keys() | ours.keys() | {"train_batch_size"})
    half = training.mixed_precision is Precision.BFLOAT16
    return {
        **{name: said[name] for name in sorted(_TAKEN) if name in said},
        "steps_per_print": said.get("steps_per_print", math.inf),
        **{name: value for name, (_, value) in ours.items()},
        "zero_optimization": _zero_block(place, said.get("zero_optimization")),
        # The trained weights are float32, as without DeepSpeed, and none of their gradients are exchanged in bfloat16.
        "torch_autocast": {"enabled": half, "dtype": "bfloat16", "lower_precision_safe_modules": []},
    }


def _said() -> tuple[str, dict[str, Any]]:
    """What accelerate's configuration says of DeepSpeed, by DeepSpeed's names, and where."""
    file = os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    if file != "none":
        try:
            content = json.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ShardingError(f"{file}: DeepSpeed's file cannot be read ({error})") from error
        if not isinstance(content, dict):
            raise ShardingError(f"{file}: is no JSON object of DeepSpeed's settings")
        return file, content
    environment = os.environ.get

    def number(name: str, default: str) -> Any:
        text = environment(name, default)
        try:
            return json.loads(text)
        except ValueError:
            return text

    return "deepspeed_config of accelerate's file", {
        "gradient_accumulation_steps": number("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "auto"),
        "gradient_clipping": number("ACCELERATE_GRADIENT_CLIPPING", "auto"),
        "zero_optimization": {
            "stage": number("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2"),
            "offload_optimizer": {"device": environment("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "none")},
            "offload_param": {"device": environment("ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE", "none")},
        },
    }


def _zero_block(place: str, zero: Any) -> dict[str, Any]:
    stage = zero.get("stage") if isinstance(zero, Mapping) else None
    if type(stage) is not int or stage not in (1, 2):
        raise ShardingError(
            f"{place}: zero_optimization.stage is {stage!r}: give the number 1 or 2; fsdp-7b.yaml and fsdp-13b.yaml of "
            "smartedit/presets/accelerate divide the weights as well, as ZeRO-3 does"
        )
    for name in ("offload_optimizer", "offload_param", "cpu_offload", "cpu_offload_param"):
        content = zero.get(name)
        if (content.get("device") if isinstance(content, Mapping) else content) not in _IDLE:
            raise ShardingError(f"{place}: {name} is not supported: fsdp_offload_params of FSDP2's files does it")
    idle = {name for name in zero if name.startswith(("stage3_", "offload_", "cpu_offload"))}
    _refuse_others(f"{place}: zero_optimization", zero, _ZERO_TAKEN | idle)
    return {name: zero[name] for name in sorted(_ZERO_TAKEN) if zero.get(name, "auto") != "auto"}


def _refuse_others(place: str, said: Mapping[str, Any], taken: Set[str]) -> None:
    others = sorted(name for name, value in said.items() if name not in taken and value not in _IDLE)
    if others:
        raise ShardingError(
            f"{place}: remove {', '.join(others)}; followed are {', '.join(sorted(taken - _OURS.keys()))}"
        )


class ZeroEngine:
    """DeepSpeed's engine: every process has all weights, and its part of gradients and of the optimizer's states."""

    def __init__(
        self, settings: Mapping[str, Any], trainee: Trainee, training: TrainingConfig, accelerator: Accelerator
    ) -> None:
        """Let the processes share a module's gradients and its optimizer.

        Args:
            settings: Of `chosen_zero`.
            trainee: What trains; its trained weights come to lie in one memory, group by group.
            training: Settings.
            accelerator: Processes and device.
        """
        kind = os.environ.get("DS_ACCELERATOR", accelerator.device.type)
        with patch_environment(ds_accelerator=kind):
            import deepspeed  # heavy, and not installed everywhere
            from deepspeed.runtime.config import DeepSpeedConfigError

        if not torch.distributed.is_initialized():
            # DeepSpeed wants a group of one process as well.
            backend = "nccl" if accelerator.device.type == "cuda" else "gloo"
            store = torch.distributed.HashStore()  # type: ignore[attr-defined]
            torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
        # Gradients are divided as soon as they are there, so what is to be forgotten of them is forgotten before.
        for parameter in token_rows(trainee.trained):
            rows = added_rows(parameter, trainee.added_tokens).to(accelerator.device)
            parameter.register_hook(_keeping(rows))
        optimizer = adamw(trainee, training)
        self._groups = [list(group["params"]) for group in optimizer.param_groups]
        try:
            with patch_environment(local_rank=str(accelerator.local_process_index)):
                self._engine, self._zero, *_ = deepspeed.initialize(
                    model=trainee.module, optimizer=optimizer, config=dict(settings), dist_init_required=False
                )
        except (DeepSpeedConfigError, ValueError, TypeError) as error:
            raise ShardingError(f"DeepSpeed cannot follow its settings: {error}") from error
        self.module: Any = self._engine
        self.optimizer: torch.optim.Optimizer = self._zero.optimizer

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        """As `Engine.one_pass`."""
        more = not self.ends_step
        yield
        if more:
            self._engine.step()  # only counts the pass

    def backward(self, loss: Tensor) -> None:
        """As `Engine.backward`."""
        self._engine.backward(loss)

    @property
    def ends_step(self) -> bool:
        """As `Engine.ends_step`."""
        return bool(self._engine.is_gradient_accumulation_boundary())

    def step(self) -> float:
        """As `Engine.step`."""
        self._engine.step()
        return float(self._engine.get_global_grad_norm())

    def state(self, *, keep: bool) -> dict[str, Any]:
        """As `Engine.state`."""
        from deepspeed.utils import safe_get_full_optimizer_state

        self._link()
        state: dict[int, dict[str, Tensor]] = {}
        groups = []
        for parameters, group in zip(self._groups, self.optimizer.param_groups, strict=True):
            first = len(state)
            step = self.optimizer.state[group["params"][0]]["step"]
            for parameter in parameters:
                whole = {name: safe_get_full_optimizer_state(parameter, name) for name in _STATES}
                kept = {name: t.cpu() if keep else t.new_empty(0, device="cpu") for name, t in whole.items()}
                state[len(state)] = {"step": step.cpu().clone(), **kept}
            groups.append({**group, "params": list(range(first, len(state)))})
        return {"state": state, "param_groups": groups}

    def put_back(self, state: Mapping[str, Any]) -> None:
        """As `Engine.put_back`."""
        from deepspeed.utils import safe_set_full_optimizer_state

        groups = list(zip(self._groups, self.optimizer.param_groups, state["param_groups"], strict=True))
        for _, group, said in groups:
            group.update({name: value for name, value in said.items() if name != "params"})
            (part,) = group["params"]
            steps = [state["state"][number]["step"] for number in said["params"] if number in state["state"]]
            empty = {name: torch.zeros_like(part) for name in _STATES}
            self.optimizer.state[part] = {"step": max(steps, default=torch.tensor(0.0)).clone(), **empty}
        self._link()
        for parameters, _, said in groups:
            for parameter, number in zip(parameters, said["params"], strict=True):
                for name in _STATES if number in state["state"] else ():
                    values = state["state"][number][name].to(parameter.device)
                    safe_set_full_optimizer_state(parameter, values, name)

    def _link(self) -> None:
        """Tell each weight where its states lie; DeepSpeed itself does it for the first group of weights only."""
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        for parameters, group in zip(self._groups, self.optimizer.param_groups, strict=True):
            (part,) = group["params"]
            lazy_init_hp_params_optimizer_state(parameters, part, self.optimizer.state)


def _keeping(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """A hook that leaves a gradient in some rows only."""
    return lambda gradient: gradient * rows
