"""The mean field: neighbours of a similar colour agree, others do not, and no picture touches another."""

import torch

from focus_ray.focus.mean_field import MeanFieldSettings, mean_field

SIZE = 24


def two_halves() -> torch.Tensor:
    """A picture that is dark on the left and light on the right."""
    images = torch.full((1, 3, SIZE, SIZE), 0.2)
    images[..., SIZE // 2 :] = 0.8
    return images


def test_a_lone_pixel_follows_its_neighbours():
    log_odds = torch.full((1, 1, SIZE, SIZE), 1.0)
    log_odds[0, 0, 6, 6] = -1.5
    settings = MeanFieldSettings(stride=1, reach=2)
    kept = mean_field(log_odds, two_halves(), torch.ones_like(log_odds), settings)
    assert kept.min() > 0.5
    alone = mean_field(log_odds, two_halves(), torch.ones_like(log_odds), settings.model_copy(update={"weight": 0.0}))
    torch.testing.assert_close(alone, torch.sigmoid(log_odds))


def test_the_field_stops_at_an_edge_of_the_photograph():
    log_odds = torch.full((1, 1, SIZE, SIZE), 0.2)
    log_odds[..., SIZE // 2 :] = -0.2
    kept = mean_field(log_odds, two_halves(), torch.ones_like(log_odds), MeanFieldSettings())
    assert bool((kept[..., : SIZE // 2] > 0.9).all())
    assert bool((kept[..., SIZE // 2 :] < 0.1).all())


def test_pixels_outside_of_the_region_are_no_neighbours():
    log_odds = torch.full((1, 1, SIZE, SIZE), -4.0)
    region = torch.zeros_like(log_odds)
    region[..., 4:10, 4:10] = 1.0
    log_odds[region > 0] = 0.3
    kept = mean_field(log_odds, two_halves(), region, MeanFieldSettings())
    assert bool((kept[region > 0] > 0.5).all())


def test_a_picture_does_not_depend_on_the_batch():
    torch.manual_seed(0)
    log_odds, images = torch.randn(3, 1, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE)
    region = torch.ones_like(log_odds)
    together = mean_field(log_odds, images, region, MeanFieldSettings())
    for row in range(3):
        alone = mean_field(log_odds[row : row + 1], images[row : row + 1], region[:1], MeanFieldSettings())
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=0)
