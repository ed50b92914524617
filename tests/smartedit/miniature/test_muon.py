import torch
from torch import nn

from smartedit.miniature.fit.muon import ITERATION, ITERATIONS, MuonWithAdamW, orthogonal


def test_an_update_has_singular_values_near_one_whatever_the_gradients_were():
    steep = torch.diag(torch.tensor([50.0, 10.0, 1.0])) @ torch.randn(3, 40, generator=torch.Generator().manual_seed(0))

    for matrix in (steep, steep.T):
        values = torch.linalg.svdvals(orthogonal(matrix))

        assert values.min() > 0.6
        assert values.max() < 1.3


def test_an_update_is_that_of_the_iteration_on_the_whole_matrix():
    random = torch.Generator().manual_seed(0)
    for rows, columns in ((24, 24), (24, 200), (200, 24), (1, 5)):
        matrix = torch.randn(rows, columns, generator=random) + 5 * torch.randn(rows, 1, generator=random)
        whole = matrix / matrix.norm()
        for _ in range(ITERATIONS):
            a, b, c = ITERATION
            square = whole @ whole.T
            whole = a * whole + (b * square + c * square @ square) @ whole

        torch.testing.assert_close(orthogonal(matrix), whole, atol=1e-4, rtol=1e-3)


def _fit(network: nn.Module, steps: int, states: list | None = None) -> tuple[list, float]:
    optimizer = MuonWithAdamW(network, learning_rate=3e-3, ends=("2",))
    if states is not None:
        optimizer.load_state_dict(states)
    wanted, loss = torch.ones(4, 2, 6, 6), torch.zeros(())
    for _ in range(steps):
        given = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))
        loss = (network(given) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return optimizer.state_dict(), loss.item()


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 2, 1))


def test_kernels_and_vectors_are_trained_and_a_state_goes_on_to_the_same_numbers():
    at_once, halves = _network(), _network()

    _, first = _fit(_network(), 1)
    _, whole = _fit(at_once, 80)
    states, _ = _fit(halves, 40)
    _, resumed = _fit(halves, 40, states)

    assert whole < 0.5 * first
    assert resumed == whole
    assert all(torch.equal(a, b) for a, b in zip(at_once.parameters(), halves.parameters(), strict=True))
