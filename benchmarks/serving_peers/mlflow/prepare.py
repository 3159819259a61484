"""Save the forest as an MLflow model that answers with probabilities."""

import sys

import mlflow.sklearn
import pandas as pd
from forest import train
from mlflow.models import infer_signature
from sklearn.datasets import load_wine

wine = load_wine(as_frame=True)
wine.data.columns = [name.replace("/", "_") for name in wine.data]
model = train()
mlflow.sklearn.save_model(
    model,
    sys.argv[1],
    signature=infer_signature(wine.data, pd.DataFrame(model.predict_proba(wine.data.to_numpy()))),
    pyfunc_predict_fn="predict_proba",
    serialization_format="cloudpickle",
    pip_requirements=["scikit-learn"],
)
