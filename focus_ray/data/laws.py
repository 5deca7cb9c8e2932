"""The type of a probability, which many laws of the synthetic world are made of."""

from typing import Annotated

from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1: how often, or how much of something."""
