"""The synthetic world written as the data sets of the paper are published."""

from focus_ray.data.layouts.layout import write_layout

__all__ = ["write_layout"]
