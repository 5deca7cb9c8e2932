"""Adam and Adadelta, with the results and the saved state of torch's own, bit for bit.

The optimisers of `torch.optim` import torch's compiler when they are created: 2.5 s of processor time in every process
that trains or refines, for nothing that is used here.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

Moments = dict[str, Tensor]


class UpdateRule:
    """Base class of the optimisers: parameters, a learning rate, and the moments of each parameter."""

    KEPT: tuple[str, str]

    def __init__(self, parameters: Iterable[Tensor], lr: float):
        self.parameters = list(parameters)
        self.lr = lr
        self.state: dict[Tensor, Moments] = {}

    def zero_grad(self) -> None:
        """Drop the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                state = self.state.get(parameter) or self._begin(parameter)
                state["step"] += 1
                self.update(parameter, parameter.grad, state)

    def update(self, parameter: Tensor, gradient: Tensor, state: Moments) -> None:
        """Update a parameter and its moments, both in place.

        Args:
            parameter: any shape.
            gradient: of the parameter.
            state: moments of the parameter, and its number of steps, already increased.
        """
        raise NotImplementedError

    def _begin(self, parameter: Tensor) -> Moments:
        """Create the state of a parameter before its first step: zeros."""
        self.state[parameter] = {name: torch.zeros_like(parameter) for name in self.KEPT}
        self.state[parameter]["step"] = torch.zeros(())
        return self.state[parameter]

    def state_dict(self) -> dict[str, Any]:
        """Return the state by the number of the parameter, in the layout of `torch.optim`."""
        order = {parameter: number for number, parameter in enumerate(self.parameters)}
        state = {order[parameter]: dict(kept) for parameter, kept in self.state.items()}
        return {"state": state, "param_groups": [{"lr": self.lr, "params": list(range(len(self.parameters)))}]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore what `state_dict`, or an optimiser of `torch.optim`, saved.

        Raises:
            ValueError: the state is of another number of parameters, or of another shape.
        """
        (group,) = saved["param_groups"]
        if len(group["params"]) != len(self.parameters):
            raise ValueError(f"the state has {len(group['params'])} parameters, the optimiser {len(self.parameters)}")
        self.lr = group["lr"]
        self.state = {
            self.parameters[number]: self._loaded(self.parameters[number], kept)
            for number, kept in saved["state"].items()
        }

    def _loaded(self, parameter: Tensor, kept: Moments) -> Moments:
        moments = {name: kept[name].to(parameter).clone() for name in self.KEPT}
        if any(moment.shape != parameter.shape for moment in moments.values()):
            raise ValueError(f"the state has another shape than its parameter, {tuple(parameter.shape)}")
        return {**moments, "step": kept["step"].clone()}


class Adam(UpdateRule):
    """Adam (Kingma and Ba 2015, algorithm 1)."""

    KEPT = ("exp_avg", "exp_avg_sq")
    BETAS = (0.9, 0.999)
    EPS = 1e-8

    def __init__(self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float] = BETAS):
        super().__init__(parameters, lr)
        self.betas = betas

    def update(self, parameter: Tensor, gradient: Tensor, state: Moments) -> None:
        (beta1, beta2), step = self.betas, float(state["step"])
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        deviation = (square.sqrt() / (1 - beta2**step) ** 0.5).add_(self.EPS)
        parameter.addcdiv_(mean, deviation, value=-self.lr / (1 - beta1**step))


class Adadelta(UpdateRule):
    """Adadelta (Zeiler 2012, algorithm 1) with a learning rate, as in the released code."""

    KEPT = ("square_avg", "acc_delta")
    RHO = 0.9
    EPS = 1e-6

    def update(self, parameter: Tensor, gradient: Tensor, state: Moments) -> None:
        square, squared_delta = state["square_avg"], state["acc_delta"]
        square.mul_(self.RHO).addcmul_(gradient, gradient, value=1 - self.RHO)
        deviation = square.add(self.EPS).sqrt_()
        delta = squared_delta.add(self.EPS).sqrt_().div_(deviation).mul_(gradient)
        squared_delta.mul_(self.RHO).addcmul_(delta, delta, value=1 - self.RHO)
        parameter.add_(delta, alpha=-self.lr)


RULES: dict[str, type[UpdateRule]] = {"adam": Adam, "adadelta": Adadelta}
