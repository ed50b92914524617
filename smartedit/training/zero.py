"""DeepSpeed's engine: ZeRO-1 and ZeRO-2, chosen by accelerate's configuration files."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from accelerate import Accelerator, DeepSpeedPlugin
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
_STATES = ("exp_avg", "exp_avg_sq")


def chosen_zero(training: TrainingConfig) -> dict[str, Any] | None:
    """DeepSpeed's settings, where accelerate's configuration asks for DeepSpeed; None where it does not.

    What training's own settings decide (batch, passes, clipping, precision, optimizer, schedule) comes from there. A
    file of DeepSpeed's that says something else is refused: overruled in silence, the authors' cosine was lost so.

    Args:
        training: The stage's settings.

    Raises:
        ShardingError: DeepSpeed is not installed, or is to do what is not supported; names the remedy.
    """
    if not parse_flag_from_env(FLAG):
        return None
    if not is_deepspeed_available():
        raise ShardingError(
            "accelerate's file asks for DeepSpeed, which is not installed: pip install 'smartedit[deepspeed]'; or "
            "launch with zero2-7b.yaml or zero2-13b.yaml of smartedit/presets/accelerate, which need none"
        )
    settings = dict(DeepSpeedPlugin().deepspeed_config)
    for block, ours in _OURS.items():
        if block in settings and settings.pop(block).get("enabled", True) not in (False, "auto"):
            raise ShardingError(f"DeepSpeed's file: remove the block {block!r}; {ours} of smartedit decide it")
    zero = settings.get("zero_optimization", {})
    if zero.get("stage") not in (1, 2):
        raise ShardingError(
            f"DeepSpeed's zero_stage {zero.get('stage')!r} is not supported: give 1 or 2; fsdp-7b.yaml and "
            "fsdp-13b.yaml of smartedit/presets/accelerate divide the weights as well, as ZeRO-3 does"
        )
    for block in ("offload_optimizer", "offload_param"):
        if ((zero.pop(block, None) or {}).get("device") or "none") != "none":
            raise ShardingError(f"DeepSpeed's {block} is not supported: fsdp_offload_params of FSDP2's files does it")
    ours_by_name = {
        "train_micro_batch_size_per_gpu": ("batch_size", training.batch_size),
        "gradient_accumulation_steps": ("gradient_accumulation", training.gradient_accumulation),
        "gradient_clipping": ("max_gradient_norm", training.max_gradient_norm),
    }
    for name, (setting, value) in ours_by_name.items():
        said = settings.get(name, "auto")
        # accelerate itself writes 1 pass where its file does not tell.
        if said not in ("auto", value) and not (name == "gradient_accumulation_steps" and said == 1):
            raise ShardingError(
                f'DeepSpeed\'s file: {name} is {said}, and training.STAGE.{setting} is {value}; write "auto" there'
            )
        settings[name] = value
    settings.pop("train_batch_size", None)
    half = training.mixed_precision is Precision.BFLOAT16
    # The trained weights are float32, as without DeepSpeed, and none of their gradients are exchanged in bfloat16.
    settings["torch_autocast"] = {"enabled": half, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    return settings


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
        if accelerator.device.type == "cpu":
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
        import deepspeed  # heavy, and not installed everywhere

        if not torch.distributed.is_initialized():
            # DeepSpeed wants a group of one process as well.
            backend = "nccl" if accelerator.device.type == "cuda" else "gloo"
            store = torch.distributed.HashStore()  # type: ignore[attr-defined]
            torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
        # Gradients are divided as soon as they are there, so what is to be forgotten of them is forgotten before.
        for parameter in token_rows(trainee.trained):
            parameter.register_hook(_keeping(added_rows(parameter, trainee.added_tokens)))
        optimizer = adamw(trainee, training)
        self._groups = [list(group["params"]) for group in optimizer.param_groups]
        with patch_environment(local_rank=str(accelerator.local_process_index)):
            self._engine, self._zero, *_ = deepspeed.initialize(
                model=trainee.module, optimizer=optimizer, config=dict(settings), dist_init_required=False
            )
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

        for group, said in zip(self.optimizer.param_groups, state["param_groups"], strict=True):
            group.update({name: value for name, value in said.items() if name != "params"})
            (part,) = group["params"]
            step = state["state"][said["params"][0]]["step"]
            self.optimizer.state[part] = {"step": step.clone(), **{name: torch.zeros_like(part) for name in _STATES}}
        self._link()
        for parameter, values in zip(chain(*self._groups), state["state"].values(), strict=True):
            for name in _STATES:
                safe_set_full_optimizer_state(parameter, values[name].to(parameter.device), name)

    def _link(self) -> None:
        """Tell each weight where its states lie; DeepSpeed itself does it for the first group of weights only."""
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        for parameters, group in zip(self._groups, self.optimizer.param_groups, strict=True):
            (part,) = group["params"]
            lazy_init_hp_params_optimizer_state(parameters, part, self.optimizer.state)


def _keeping(rows: Tensor) -> Callable[[Tensor], Tensor]:
    """A hook that leaves a gradient in some rows only."""
    return lambda gradient: gradient * rows.to(gradient.device)
