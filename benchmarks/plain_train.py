"""The plain script: the same candidates, seeds and core functions, without ZenML and MLflow.

    python benchmarks/plain_train.py configs/wine.yaml /tmp/plain [--reports]

It is what a careful data scientist would write by hand; `train_overhead.py` measures against it.
With ``--reports`` it also writes the bundle and the reports that a pipeline run leaves.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from evergreen.data.conform import conform
from evergreen.data.dataset import Dataset
from evergreen.data.infer import infer_contract
from evergreen.data.quality import check_split, check_table, merge
from evergreen.data.sources import read_source
from evergreen.data.splits import SplitRows, split_holdout
from evergreen.promotion.gate import judge
from evergreen.promotion.serialization import save_model
from evergreen.training.evaluation import evaluate
from evergreen.training.explanation import explain
from evergreen.training.predictions import predict
from evergreen.training.search import fit_candidates, search_candidates
from evergreen.use_case import load_use_case


def main(config: str, folder: Path, reports: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    use_case = load_use_case(Path(config))
    how = {
        "features": use_case.features,
        "training": use_case.training,
        "split": use_case.split,
    }
    seed = use_case.training.seed

    raw = read_source(use_case.data.source)
    contract = infer_contract(raw, use_case)
    quality = check_table(raw, contract, use_case)
    frame = conform(raw, contract)
    frame = frame[frame[contract.target].notna()].reset_index(drop=True)
    split = split_holdout(frame, contract, use_case.split)
    quality = merge(quality, check_split(SplitRows.of(frame, contract), split, contract, use_case))
    quality.require()
    train = Dataset.write(frame.iloc[split.train], folder / "train.parquet", "plain")
    holdout = frame.iloc[split.holdout]

    search = search_candidates(train, contract, **how)
    by_name = {candidate.name: candidate for candidate in search.candidates}
    chosen = [by_name[search.best], by_name["baseline"]]
    challenger, baseline = fit_candidates(train, contract, chosen, **how)

    arms = {
        name: predict(model, holdout, contract)
        for name, model in (("challenger", challenger), ("baseline", baseline))
    }
    evaluations = {
        name: evaluate(arm, holdout, contract, use_case.evaluation, seed)
        for name, arm in arms.items()
    }
    explanation = explain(
        challenger,
        holdout,
        contract,
        metric=search.metric,
        config=use_case.evaluation,
        seed=seed,
    )
    verdict = judge(
        use_case.gate,
        metric=search.metric,
        challenger=arms["challenger"],
        baseline=arms["baseline"],
        champion=None,
        champion_version=None,
        evaluation=evaluations["challenger"],
        seed=seed,
        bootstrap=use_case.evaluation.bootstrap,
    )
    if reports:
        from benchmarks.plain_reports import write_everything

        write_everything(
            folder,
            use_case,
            contract,
            quality,
            split,
            frame,
            train,
            search,
            challenger,
            arms["challenger"],
            evaluations,
            explanation,
            verdict,
        )
    else:
        save_model(challenger, folder / "model.skops")
    print(
        json.dumps(
            {
                "best": search.best,
                "passed": verdict.passed,
                "metrics": {
                    name: interval.estimate
                    for name, interval in evaluations["challenger"].metrics.items()
                },
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), "--reports" in sys.argv)
