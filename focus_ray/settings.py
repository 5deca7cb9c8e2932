"""Base class of all settings: frozen, typed, and an unknown key is an error."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen record of options. Unknown keys and values of a wrong type or range are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
