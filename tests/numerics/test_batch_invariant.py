"""Products with a matrix: a row has the same bits beside one other row and beside many, and so has its gradient."""

import pytest
import torch
from torch import Tensor

from focus_ray.numerics.batch_invariant import RowwiseLinear, batch_invariant


def with_gradient(rows: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    rows = rows.clone().requires_grad_(True)
    answer = batch_invariant(lambda x: x @ matrix, rows)
    (gradient,) = torch.autograd.grad(answer.square().sum(), [rows])
    return answer.detach(), gradient


@pytest.mark.parametrize("count", [2, 3, 4, 5, 11, 14])
def test_a_row_has_the_same_bits_in_every_batch_from_two_on(count: int):
    rows, matrix = torch.randn(15, 144), torch.randn(144, 6000)
    for part, whole in zip(with_gradient(rows[:count], matrix), with_gradient(rows, matrix), strict=True):
        assert torch.equal(part, whole[:count])


@pytest.mark.parametrize(("inputs", "outputs"), [(1536, 256), (512, 257), (144, 600)])
def test_a_linear_layer_has_the_same_bits_in_every_batch_from_two_on(inputs: int, outputs: int):
    layer, rows = RowwiseLinear(inputs, outputs).eval(), torch.randn(40, inputs)
    whole = layer(rows)
    for count in (2, 3, 4, 9, 10, 11, 15, 16, 31):
        assert torch.equal(layer(rows[:count]), whole[:count]), count


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_rows_have_their_own_answers_and_gradients(count: int):
    rows, matrix = torch.randn(count, 144, dtype=torch.float64), torch.randn(144, 60, dtype=torch.float64)
    answer, gradient = with_gradient(rows, matrix)
    torch.testing.assert_close(answer, rows @ matrix)
    torch.testing.assert_close(gradient, 2 * answer @ matrix.T)


def test_a_linear_layer_is_padded_outside_of_training_only():
    layer, rows = RowwiseLinear(1536, 256), torch.randn(9, 1536)
    trained = layer(rows[:3])
    assert torch.equal(trained, torch.nn.functional.linear(rows[:3], layer.weight, layer.bias))
    layer.eval()
    assert torch.equal(layer(rows[:3]), layer(rows)[:3])
