"""What takes a step's passes backward and changes the weights: accelerate with torch, or DeepSpeed's engine."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from smartedit.config.training import TrainingConfig
from smartedit.training.sharding import chosen_sharding, divided_state, shard, whole, whole_tree
from smartedit.training.stages import forget_old_rows, parameter_groups
from smartedit.training.trainee import Trainee


class Engine(Protocol):
    """The passes and steps of a run, in one way of sharing the work among processes.

    The states that it gives and takes are those of `torch.optim.AdamW` over `parameter_groups` of the whole weights,
    whichever engine has them, so that a run may go on with another.
    """

    @property
    def module(self) -> Any:
        """What is called for a pass."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """For schedules of the learning rate."""
        ...

    def one_pass(self) -> AbstractContextManager[None]:
        """Within it a pass goes forward and backward; behind the last of a step comes `step`."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add a pass's share of the step's gradients."""
        ...

    @property
    def ends_step(self) -> bool:
        """Whether the pass is the last of its step."""
        ...

    def step(self) -> float:
        """Clip the gradients, change the weights and forget the gradients.

        Returns:
            The gradients' norm before clipping. Where it is no number, the weights may have changed.
        """
        ...

    def state(self, *, keep: bool) -> dict[str, Any]:
        """The optimizer's whole state, in the CPU's memory; without its tensors where it is not to be kept."""
        ...

    def put_back(self, state: Mapping[str, Any]) -> None:
        """Take a whole state of the optimizer; the weights were put back before."""
        ...


class AccelerateEngine:
    """One process, DDP, or FSDP2, by accelerate and torch."""

    def __init__(self, trainee: Trainee, training: TrainingConfig, accelerator: Accelerator) -> None:
        """Let the processes share a module, and make its optimizer.

        Raises:
            ShardingError: The processes are to share the weights in a way that is not supported.
        """
        self._trainee, self._accelerator = trainee, accelerator
        self._max_norm = training.max_gradient_norm
        plugin = chosen_sharding(accelerator)
        if plugin is not None:
            shard(trainee.module, plugin, accelerator)
            # Divided parameters are others than the whole ones were.
            trainee.trained.update({n: p for n, p in trainee.module.named_parameters() if n in trainee.trained})
        self._parameters = list(trainee.trained.values())
        optimizer = adamw(trainee, training)
        self.module: Any = trainee.module
        self._stepped: Any = optimizer
        if plugin is None:
            self.module, self._stepped = accelerator.prepare(trainee.module, optimizer)
        # accelerate's wrapper is no optimizer to torch's schedules.
        self.optimizer: torch.optim.Optimizer = getattr(self._stepped, "optimizer", self._stepped)

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        """As `Engine.one_pass`."""
        with self._accelerator.accumulate(self.module):
            yield

    def backward(self, loss: Tensor) -> None:
        """As `Engine.backward`."""
        self._accelerator.backward(loss)

    @property
    def ends_step(self) -> bool:
        """As `Engine.ends_step`."""
        return bool(self._accelerator.sync_gradients)

    def step(self) -> float:
        """As `Engine.step`."""
        forget_old_rows(self._trainee.trained, self._trainee.added_tokens)
        norm = float(whole(self._accelerator.clip_grad_norm_(self._parameters, self._max_norm)))
        self._stepped.step()
        self._stepped.zero_grad()
        return norm

    def state(self, *, keep: bool) -> dict[str, Any]:
        """As `Engine.state`."""
        state: dict[str, Any] = whole_tree(self._stepped.state_dict(), keep=keep)
        return state

    def put_back(self, state: Mapping[str, Any]) -> None:
        """As `Engine.put_back`."""
        self._stepped.load_state_dict(divided_state(state, self._stepped))


def adamw(trainee: Trainee, training: TrainingConfig) -> torch.optim.AdamW:
    """The optimizer of all stages."""
    return torch.optim.AdamW(
        parameter_groups(trainee.trained, training.weight_decay), lr=training.learning_rate, betas=training.betas
    )
