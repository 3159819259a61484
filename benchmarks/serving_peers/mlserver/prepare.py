"""Save the forest, and the settings by which MLServer's own scikit-learn runtime serves it."""

import json
import sys
from pathlib import Path

import joblib
from forest import train

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
joblib.dump(train(), folder / "forest.joblib")
model = {
    "name": "forest",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./forest.joblib", "version": "1"},
}
(folder / "model-settings.json").write_text(json.dumps(model))
