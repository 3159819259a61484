"""One turn of the loop: from what the champion saw to what serves next."""

from __future__ import annotations

from zenml import pipeline

from evergreen.config import UseCase
from evergreen.deployment.values import ServingCheck
from evergreen.monitoring.turns import (
    Task,
    failed_in_service,
    settled_by,
    settled_by_way_back,
    why_back,
)
from pipelines.monitor import judge_newest_window
from pipelines.pipeline_options import OPTIONS
from pipelines.placement import Placement
from steps.deployment.serving_check import verify_serving
from steps.monitoring.turn import (
    begin_turn,
    conclude_turn,
    guard_promotion,
    roll_back_champion,
    take_up_turn,
)


@pipeline(name="continuous", dynamic=True, **OPTIONS)
def continuous(use_case: UseCase, command: str) -> None:
    """Guard, take up what was left or judge the newest window, and do what that asks for."""
    guarded = guard_promotion(use_case)
    task = before = take_up_turn(guarded, use_case)
    if before.load().kind == "observe":
        task = begin_turn(judge_newest_window(use_case), before, use_case)

    todo: Task = task.load()
    settled = todo.settled
    if todo.kind == "retrain" and todo.request is not None:
        from pipelines.retrain import learn_anew  # half of all imports, and most turns are quiet

        settled = settled_by(learn_anew(use_case, todo.request, command).load())
    elif todo.kind == "roll_back":
        settled = settled_by_way_back(roll_back_champion(use_case, why_back(todo)).load())

    serving = None
    if guarded.load().rolled_back or (settled is not None and settled.outcome == "promoted"):
        serving = Placement(use_case)(verify_serving)(use_case)  # it may have to deploy
        check: ServingCheck = serving.load()
        if check.status == "failed" and settled is not None:
            settled = failed_in_service(settled, roll_back_champion(use_case, check.message).load())
    if settled is not None:
        conclude_turn(task, settled, serving, use_case)
