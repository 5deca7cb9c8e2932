"""The base of every part's own configuration: frozen, typed, and a wrong key is an error."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen record of options. Unknown keys and values that do not fit are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
