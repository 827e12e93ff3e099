"""What one core of a load generator can do: `config/generator_rates.toml`, read and checked."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.errors import ConfigError, problems_of

RATES_FILE = Path(__file__).parent / "generator_rates.toml"

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RatesOfACore(BaseModel):
    """Requests a second."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plain: Rate
    """To an API, without TLS."""
    tls: Rate
    signed: Rate
    """Invokes and messages, signed, without TLS."""


class GeneratorRates(BaseModel):
    """The file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    date: datetime.date
    how: str
    share: Annotated[float, Field(gt=0, le=1)]
    """Of these rates, what is planned for."""
    requests_per_s: RatesOfACore


def load_generator_rates(file: Path = RATES_FILE) -> GeneratorRates:
    """Raises ConfigError with everything that is wrong with the file."""
    try:
        return GeneratorRates.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            raise ConfigError(problems_of(error, str(file))) from None
        raise ConfigError(f"{file}: {error}") from None
