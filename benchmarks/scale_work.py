"""What `scale.py` runs beside ours: the use case, and what plain libraries do at the least.

train    pandas reads the table, XGBoost's own estimator is fitted on four fifths of it with
         the challenger's own parameters and rounds, and judged on the rest
         with the engine dask: the same by Dask's data frames and XGBoost's Dask interface
monitor  pandas reads both tables, SciPy tests every column (Kolmogorov-Smirnov)
batch    PyArrow reads the table in pieces, ONNX Runtime scores them, PyArrow writes
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PIECE = 1_000_000

CONFIG = """\
name: scale
task: classification
data: {{source: "{table}", target: y, positive: "yes"}}
training:
  candidates:
    xgboost: {{params: {{n_estimators: {rounds}, max_depth: 6, learning_rate: 0.1}}, search: {{}}}}
  trials: 1
  early_stopping: {rounds}  # as many rounds at each size
  jobs: 1
  search_rows: {search_rows}
  dask: {{{workers}}}
gate: {{champion: null}}
"""

BARE = {
    "train": """
import json, sys
import numpy as np, pandas as pd
from sklearn.metrics import log_loss
from xgboost import XGBClassifier
table, rounds = sys.argv[1], int(sys.argv[2])
frame = pd.read_parquet(table)
y = (frame.pop("y") == "yes").to_numpy()
held = np.random.default_rng(0).random(len(frame)) < 0.2
model = XGBClassifier(n_estimators=rounds, max_depth=6, learning_rate=0.1, tree_method="hist")
model.fit(frame[~held], y[~held])
print(json.dumps({"log_loss": log_loss(y[held], model.predict_proba(frame[held]))}))
""",
    "train on dask": """
import json, os, sys
import dask.dataframe as dd
from dask.distributed import Client, LocalCluster
from sklearn.metrics import log_loss
from xgboost import dask as dxgb
table, rounds, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
memory = sys.argv[4]
threads = max(1, len(os.sched_getaffinity(0)) // workers)
cluster = LocalCluster(
    None, workers, threads, memory_limit=memory, dashboard_address="localhost:0"
)
with cluster, Client(cluster) as client:
    frame = dd.read_parquet(table, split_row_groups=True)
    fit, held = frame.random_split([0.8, 0.2], random_state=0)
    y = (fit["y"] == "yes").astype(int)
    matrix = dxgb.DaskQuantileDMatrix(client, fit.drop(columns="y"), y)
    params = {"objective": "binary:logistic", "max_depth": 6, "learning_rate": 0.1}
    booster = dxgb.train(client, params | {"tree_method": "hist"}, matrix, rounds)["booster"]
    found = dxgb.predict(client, booster, held.drop(columns="y")).compute()
    print(json.dumps({"log_loss": log_loss((held["y"] == "yes").compute(), found)}))
""",
    "monitor": """
import json, sys
import pandas as pd
from scipy.stats import ks_2samp
reference, window = (pd.read_parquet(path).drop(columns="y", errors="ignore")
                     for path in sys.argv[1:3])
tests = {name: ks_2samp(reference[name].dropna(), window[name].dropna()).pvalue
         for name in window.columns}
print(json.dumps({"columns": len(tests)}))
""",
    "batch": """
import json, sys
import numpy as np, onnxruntime, pyarrow as pa, pyarrow.parquet as pq
table, graph, output = sys.argv[1:4]
session = onnxruntime.InferenceSession(graph)
names = [each.name for each in session.get_inputs()]
rows, writer = 0, None
for batch in pq.ParquetFile(table).iter_batches(65_536):
    columns = [c for c in batch.schema.names if c != "y"]
    matrix = np.column_stack([batch[c].to_numpy(zero_copy_only=False) for c in columns])
    found = pa.table({"p": session.run(None, {names[0]: matrix})[0][:, 1]})
    writer = writer or pq.ParquetWriter(output, found.schema)
    writer.write_table(found)
    rows += len(matrix)
writer.close()
print(json.dumps({"rows": rows}))
""",
}


def write_table(path: Path, rows: int, columns: int) -> None:
    """Write numbers and a target that some of them decide, in pieces of a million rows.

    The numbers have four decimals, as measurements have: 10^8 rows take 7 GB on disk, where
    numbers of random bits to the last would take 24.
    """
    schema = pa.schema([*((f"x{n}", pa.float64()) for n in range(columns - 1)), ("y", pa.string())])
    with pq.ParquetWriter(path, schema) as file:
        for start in range(0, rows, PIECE):
            random = np.random.default_rng(start)
            values = random.normal(size=(columns - 1, min(PIECE, rows - start))).round(4)
            score = values[0] + values[1] * values[2] + random.normal(size=values.shape[1])
            y = np.where(score > 0, "yes", "no")
            file.write_table(pa.table([*values, y], schema=schema))
