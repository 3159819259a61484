"""The champion that a challenger is judged against."""

from __future__ import annotations

from typing import Annotated

from sklearn.base import BaseEstimator
from zenml import step

from evergreen.values import Value


class ChampionReference(Value):
    """The champion that the challenger is judged against; no version where there is none."""

    name: str
    version: str | None


def champion_model(champion: ChampionReference) -> BaseEstimator:
    raise RuntimeError


@step(enable_cache=False)
def find_champion(name: str) -> Annotated[ChampionReference, "champion"]:
    return ChampionReference(name=name, version=None)
